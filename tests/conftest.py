"""What all tests share: shape checks on, real data where they are at hand, a fine-tuned model."""

import atexit
import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

# Eight devices stand in for a pod. Compiled without optimisation: tests compile more than they
# compute. Set before JAX starts.
os.environ["XLA_FLAGS"] = (
    "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"
)

# What several tests compile is compiled once, also by the processes that they start. Each worker
# has a cache of its own: JAX writes an entry in place, and who reads it meanwhile is warned.
os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="compiled-for-tests-")
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)

ROOT = Path(__file__).resolve().parents[1]

# Every signature of the layers that compute on arrays, shapes included, is checked while testing;
# in production it is free.
install_import_hook(["spanbert_jax.data", "spanbert_jax.model"], "beartype.beartype")


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real text and golden numbers beside the checkout; continuous integration has them."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        # Where a change is judged, a test that did not run is no test.
        (pytest.fail if os.environ.get("CI") else pytest.skip)(
            "needs the folder of real data beside the checkout"
        )
    return folder


@pytest.fixture(scope="session")
def reference() -> Path:
    """Folder of golden numbers: that which SPANBERT_REFERENCE names, else the copies kept here."""
    named = os.environ.get("SPANBERT_REFERENCE")
    folder = Path(named) if named else ROOT / "tests" / "golden"
    if not folder.is_dir():
        pytest.fail(
            f"SPANBERT_REFERENCE {named}: must be a folder of golden numbers; unset it to "
            "use the copies in tests/golden"
        )
    return folder


@pytest.fixture
def unread_pipe() -> Iterator[int]:
    """The end to write to of a pipe that nobody reads, full already: whoever writes to it waits."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writing, b"-" * 512)
    os.set_blocking(writing, True)
    yield writing
    os.close(writing)
    os.close(reading)


@pytest.fixture
def as_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of this machine are opened as those of gs:// are: by TensorFlow."""
    from etils.epath import backend, gpath

    monkeypatch.setitem(gpath._PREFIX_TO_BACKEND, None, backend.tf_backend)


@pytest.fixture
def storage_failure() -> Callable[[str], Exception]:
    """storage_failure("UnavailableError"): as TensorFlow tells of gs://, which is no `OSError`.

    Of a module that is named as TensorFlow's, which takes seconds to import.
    """

    def failure(kind: str) -> Exception:
        module = {"__module__": "tensorflow.python.framework.errors_impl"}
        return type(kind, (Exception,), module)("503 while writing to gs://bucket/run/a")

    return failure


WORDS = """
    the a by in was is and not who where when what born wrote first program ada lovelace london
    paris ##s bad good film river tower subject object person city ? , . !
""".split()


@pytest.fixture(scope="session")
def save_fine_tuned() -> Callable[..., Path]:
    """save_fine_tuned(folder, task): a fine-tuning run of a tiny random model, of `WORDS`.

    What the task learns from its training data is there; `scores` are those of the checkpoints.
    """
    import flax.linen as nn
    import jax

    from spanbert_jax.config import ComputeConfig, FinetuneConfig, ModelConfig, TaskConfig
    from spanbert_jax.corpus.tokenizers import SPECIAL_PIECES, load_tokenizer
    from spanbert_jax.tasks.objective import objective_of
    from spanbert_jax.tasks.splits import split_of
    from spanbert_jax.tasks.task import load_task
    from spanbert_jax.training.checkpoint import Checkpoints, DataPosition, Ranking, TaskOrigin
    from spanbert_jax.training.metrics import DEV
    from spanbert_jax.training.run_folder import claim

    def save(
        folder: Path, config: TaskConfig, *, settings: dict | None = None,
        scores: tuple[float, ...] = (50.0,), max_positions: int = 64,
    ) -> Path:  # fmt: skip
        folder.mkdir(parents=True)
        vocabulary = folder.parent / "vocab.txt"
        vocabulary.write_text("\n".join((*SPECIAL_PIECES, *WORDS)) + "\n")
        tokenizer, task = load_tokenizer(vocabulary), load_task(config)
        model = ModelConfig(
            vocab_size=tokenizer.vocab_size, hidden_size=16, num_layers=1, num_heads=2, mlp_size=32,
            max_positions=max_positions, initializer_std=0.3,
        )  # fmt: skip
        examples = task.read(config.train, training=True).examples
        tables = task.tables(examples, tokenizer)
        split = split_of(examples, task, tokenizer=tokenizer, tables=tables, training=False)
        objective = objective_of(task, tables, model, ComputeConfig())
        batch = split.rows.batch(split.rows.longest_first(batch_size=1)[0], batch_size=1)
        run = FinetuneConfig(workdir=str(folder), init_from="weights", task=config)
        claim(folder, run, tokenizer_file=vocabulary)
        with Checkpoints(
            folder, run, tokenizer_fingerprint=load_tokenizer(folder / "tokenizer").fingerprint,
            task=TaskOrigin(model, tables), ranking=Ranking(DEV + task.metric, True),
        ) as checkpoints:  # fmt: skip
            for step, score in enumerate(scores, start=1):
                params = nn.unbox(jax.jit(objective.init)(jax.random.key(step), batch))
                checkpoints.save(
                    step, {"params": params}, position=DataPosition(0), score=score,
                    settings=settings or {},
                )  # fmt: skip
        return folder

    return save


@pytest.fixture(scope="session")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny run of pretraining with a masked language head and one for span boundaries."""
    from spanbert_jax.config import DataConfig, ModelConfig, PretrainConfig
    from spanbert_jax.config.json import to_json
    from spanbert_jax.corpus.tokenizers import SPECIAL_PIECES, load_tokenizer
    from spanbert_jax.training.checkpoint import Checkpoints, DataPosition
    from spanbert_jax.weights.parameters import initial_parameters, nest, parameter_shapes

    folder = tmp_path_factory.mktemp("pretrained")
    (folder / "tokenizer").mkdir()
    (folder / "tokenizer" / "vocab.txt").write_text("\n".join((*SPECIAL_PIECES, *WORDS)) + "\n")
    tokenizer = load_tokenizer(folder / "tokenizer")
    model = ModelConfig(
        vocab_size=tokenizer.vocab_size, hidden_size=16, num_layers=1, num_heads=2, mlp_size=32,
        max_positions=32, boundary_offset_size=6,
    )  # fmt: skip
    params = nest(initial_parameters(model, list(parameter_shapes(model)), seed=0))
    config = PretrainConfig(
        workdir=str(folder), model=model, data=DataConfig(sequence_length=model.max_positions)
    )
    (folder / "config.json").write_text(to_json(config))
    with Checkpoints(folder, config, tokenizer_fingerprint=tokenizer.fingerprint) as checkpoints:
        checkpoints.save(7, {"params": params}, position=DataPosition(0), score=None)
    return folder


# In the order of their ids in RoBERTa.
ROBERTA_PIECES = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")


@pytest.fixture(scope="session")
def train_byte_level() -> Callable[..., Path]:
    """Trains a byte-level BPE tokenizer as RoBERTa's, and writes its tokenizer.json into a folder.

    256 of its entries are bytes, `special` stand before them.
    """
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers, processors, trainers

    def train(
        folder: Path, texts: list[str], *, vocab_size: int, special: tuple = ROBERTA_PIECES
    ) -> Path:
        rust = tokenizers.Tokenizer(models.BPE())
        rust.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        rust.decoder = decoders.ByteLevel()
        rust.post_processor = processors.ByteLevel(trim_offsets=True)
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size, special_tokens=list(special), show_progress=False,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        )  # fmt: skip
        rust.train_from_iterator(texts, trainer)
        rust.save(str(folder / "tokenizer.json"))
        return folder / "tokenizer.json"

    return train

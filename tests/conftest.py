"""What all tests share: shape checks on, and the folder of real data where it is at hand."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

# Eight devices stand in for a pod. Compiled without optimisation: tests compile more than they
# compute. Set before JAX starts.
os.environ["XLA_FLAGS"] = (
    "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"
)

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

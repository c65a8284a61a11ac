"""From shards to batches: the same global batches on any number of hosts, resumed or not."""

import gc
import itertools
import subprocess
import sys
import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from spanbert_jax.config import MaskingConfig
from spanbert_jax.corpus import pieces
from spanbert_jax.data import order, pipeline
from spanbert_jax.data.batch import PretrainBatch, batch_shapes
from spanbert_jax.data.host_tensorflow import tf
from spanbert_jax.data.pipeline import held_out_batches
from spanbert_jax.data.token_shards import NO_END, TokenShards, open_token_shards
from spanbert_jax.errors import UserError

LENGTH, BATCH_SIZE = 32, 8
CLS, SEP = 2, 3


@pytest.fixture(scope="module")
def train(shards_folder: Path) -> TokenShards:
    return open_token_shards(shards_folder, sequence_length=LENGTH)


@pytest.fixture
def many_windows(make_shards: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pieces of 200 tokens and windows of 3 of them."""
    monkeypatch.setattr(pieces, "PIECE_TOKENS", 200)
    monkeypatch.setattr(order, "WINDOW_PIECES", 3)
    return make_shards(train=[30, 3, 20], held_out=[7])


@pytest.fixture(scope="module")
def held_out(shards_folder: Path) -> TokenShards:
    return open_token_shards(shards_folder, split="held_out", sequence_length=LENGTH)


def batches(shards: TokenShards, num_batches: int | None, **how) -> list[PretrainBatch]:
    settings = dict(masking=MaskingConfig(), batch_size=BATCH_SIZE, max_boundary_offsets=15, seed=1)
    dataset = pipeline.pretrain_dataset(shards, **(settings | how))
    return list(itertools.islice(dataset.as_numpy_iterator(), num_batches))


def held_out_rows(shards: TokenShards, **how) -> list[PretrainBatch]:
    settings = dict(masking=MaskingConfig(), batch_size=BATCH_SIZE, max_boundary_offsets=15)
    return list(held_out_batches(shards, **(settings | how)).as_numpy_iterator())


def shares(num_hosts: int) -> list[np.ndarray]:
    """Of each host, the rows of a batch that are its own."""
    return np.split(np.arange(BATCH_SIZE), num_hosts)


def assert_equal(actual: list[PretrainBatch], expected: list[PretrainBatch]) -> None:
    assert len(actual) == len(expected)
    for one, other in zip(actual, expected, strict=True):
        for name in PretrainBatch._fields:
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


def join(hosts: list[list[PretrainBatch]]) -> list[PretrainBatch]:
    """Global batches from the batches of every host."""
    return [
        PretrainBatch(*map(np.concatenate, zip(*parts, strict=True)))
        for parts in zip(*hosts, strict=True)
    ]


def original_rows(batch: PretrainBatch) -> list[tuple[int, ...]]:
    """The blocks of a batch as they were before masking, empty rows left out."""
    ids = batch.token_ids.copy()
    row, slot = np.nonzero(batch.masked_weights)
    ids[row, batch.masked_positions[row, slot]] = batch.masked_ids[row, slot]
    lengths = (batch.document_ids > 0).sum(axis=1)
    rows = zip(ids, lengths, strict=True)
    return [tuple(row[1 : n - 1].tolist()) for row, n in rows if n > 2]


def all_blocks(shards: TokenShards) -> list[tuple[int, ...]]:
    """Read from the files, without order or tf.data."""
    found = []
    for number in range(len(shards.pieces)):
        piece = shards.pieces.read(number)
        rows, _ = shards.rule.cut(piece)
        for start, length in zip(rows.start, rows.length, strict=True):
            found.append(tuple(piece.tokens[start : start + length].tolist()))
    return sorted(found)


def test_batches_have_the_shapes_and_types_of_the_contract(train: TokenShards) -> None:
    (batch,) = batches(train, 1)
    shapes = batch_shapes(BATCH_SIZE, LENGTH, MaskingConfig().num_predictions(LENGTH))
    for name, field in batch._asdict().items():
        assert field.shape == shapes[name] and field.dtype == np.int32, name
    assert set(batch.token_ids[:, 0]) == {CLS}
    ends = batch.document_ids.sum(axis=1) - 1
    assert set(batch.token_ids[np.arange(BATCH_SIZE), ends]) == {SEP}


def test_shapes_are_static(train: TokenShards) -> None:
    dataset = pipeline.pretrain_dataset(
        train, masking=MaskingConfig(), batch_size=8, max_boundary_offsets=15, seed=0
    )
    assert all(None not in spec.shape for spec in dataset.dataset.element_spec)


def test_every_block_is_seen_once_an_epoch_and_partial_batches_are_carried_over(
    train: TokenShards,
) -> None:
    assert train.num_blocks % BATCH_SIZE != 0
    num_batches = 3 * train.num_blocks // BATCH_SIZE
    rows = [row for batch in batches(train, num_batches) for row in original_rows(batch)]
    assert len(rows) == num_batches * BATCH_SIZE
    for epoch in range(2):
        part = rows[epoch * train.num_blocks : (epoch + 1) * train.num_blocks]
        assert sorted(part) == all_blocks(train)


def test_a_block_is_masked_anew_in_the_next_epoch(train: TokenShards) -> None:
    masked: dict[tuple[int, ...], set[tuple[int, ...]]] = {}
    for batch in batches(train, 2 * train.num_blocks // BATCH_SIZE + 1):
        for i, row in enumerate(original_rows(batch)):
            if len(row) > 20:
                masked.setdefault(row, set()).add(tuple(batch.masked_positions[i].tolist()))
    twice = sum(len(positions) > 1 for positions in masked.values())
    assert twice > 0.9 * len(masked)


@pytest.mark.parametrize("num_hosts", [2, 4, 8])
def test_any_number_of_hosts_makes_the_same_global_batches(
    train: TokenShards, num_hosts: int
) -> None:
    expected = batches(train, 10)
    hosts = [batches(train, 10, share=share) for share in shares(num_hosts)]
    assert_equal(join(hosts), expected)


@pytest.mark.parametrize("step", [1, 5, 17])
def test_a_resumed_run_sees_the_batches_of_an_uninterrupted_one(
    train: TokenShards, step: int
) -> None:
    assert_equal(
        batches(train, 4, first_example=step * BATCH_SIZE), batches(train, step + 4)[step:]
    )


def test_a_run_goes_on_at_an_example_that_no_loop_could_reach(train: TokenShards) -> None:
    start = 10**11
    following = batches(train, 2, first_example=start + BATCH_SIZE)
    assert_equal(batches(train, 3, first_example=start)[1:], following)


@pytest.mark.parametrize("rows_per_call", [1, 24, 100])
def test_rows_masked_together_do_not_change_the_batches(
    train: TokenShards, rows_per_call: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = batches(train, 6)
    monkeypatch.setattr(pipeline, "MIN_ROWS_PER_CALL", rows_per_call)
    assert_equal(batches(train, 6), expected)


KINDS = ["document", "packed", "sentence_pair"]


@pytest.mark.parametrize("blocks", KINDS)
def test_windows_change_neither_hosts_nor_resuming(many_windows: Path, blocks: str) -> None:
    shards, again = (
        open_token_shards(many_windows, sequence_length=LENGTH, blocks=blocks) for _ in range(2)
    )
    assert len(shards.pieces) > 4 * order.WINDOW_PIECES
    num_batches = 2 * shards.num_blocks // BATCH_SIZE
    expected = batches(shards, num_batches)
    hosts = [batches(again, num_batches, share=share) for share in shares(4)]
    assert_equal(join(hosts), expected)
    for step in (num_batches - 1, num_batches // 2):
        resumed = batches(again, 1, first_example=step * BATCH_SIZE)
        assert_equal(resumed, expected[step : step + 1])


@pytest.mark.parametrize("blocks", ["document", "packed"])
def test_every_token_is_seen_once_an_epoch_whatever_the_windows(
    many_windows: Path, blocks: str
) -> None:
    shards = open_token_shards(many_windows, sequence_length=LENGTH, blocks=blocks)
    seen = batches(shards, None, num_epochs=1)
    # As bags of ids: rows of several documents are not runs of the text.
    found = np.concatenate(
        [np.concatenate([np.array(row) for row in original_rows(b)]) for b in seen]
    )
    text = np.concatenate([shards.pieces.read(n).tokens for n in range(len(shards.pieces))])
    found = found[(found != CLS) & (found != SEP)]
    assert sorted(found.tolist()) == sorted(text.tolist())


def altered(folder: Path, number: int) -> Callable[[], None]:
    """Alter one byte of a piece of the second shard; what is returned mends it."""
    path = folder / "train-00001.tokens.npy"
    content = path.read_bytes()
    place = int(np.load(folder / "train-00001.pieces.npy")["offset"][number])
    path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    return lambda: path.write_bytes(content)


def test_a_piece_altered_in_the_middle_of_a_run_is_named_and_all_before_it_is_seen(
    many_windows: Path,
) -> None:
    expected = batches(open_token_shards(many_windows, sequence_length=LENGTH), 40)
    shards = open_token_shards(many_windows, sequence_length=LENGTH)
    iterator = pipeline.pretrain_dataset(
        shards, masking=MaskingConfig(), batch_size=BATCH_SIZE, max_boundary_offsets=15, seed=1
    ).as_numpy_iterator()
    seen = [next(iterator)]
    mend = altered(many_windows, 0)
    with pytest.raises(
        UserError, match="train-00001.tokens.npy: is truncated or altered .*prepare"
    ):
        seen += itertools.islice(iterator, 300)
    mend()
    # The run goes on, in the same process even, where it stopped.
    resumed = batches(shards, 40 - 1, first_example=BATCH_SIZE)
    assert_equal([seen[0], *resumed], expected)


def test_an_operation_that_fails_without_a_reason_of_ours_fails_as_it_is(
    train: TokenShards,
) -> None:
    def fail() -> None:
        raise ValueError("a mistake of the program")

    dataset = tf.data.Dataset.range(1).map(
        lambda _: tf.numpy_function(fail, [], tf.int64), name="fail"
    )
    iterator = pipeline.Batches(
        dataset, pipeline.Source(train.reader(0), NO_END)
    ).as_numpy_iterator()
    with pytest.raises(tf.errors.OpError, match="a mistake of the program"):
        next(iterator)


def test_a_disk_that_fails_is_named_and_not_its_operation(
    shards_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards = open_token_shards(shards_folder, sequence_length=LENGTH)

    def fail(*_: object, **__: object) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("spanbert_jax.corpus.shards.read_bytes", fail)
    with pytest.raises(UserError, match="tokens.npy: cannot be read .Input/output error.; check"):
        batches(shards, 1)


def test_a_mistake_of_ours_comes_out_as_it_was_raised(
    shards_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards = open_token_shards(shards_folder, sequence_length=LENGTH)
    monkeypatch.setattr("spanbert_jax.data.token_shards.lay_out", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        batches(shards, 1)


@pytest.mark.parametrize("blocks", KINDS)
def test_what_batches_were_drawn_from_is_let_go_with_them(shards_folder: Path, blocks: str) -> None:
    shards = open_token_shards(shards_folder, sequence_length=LENGTH, blocks=blocks)
    drawn = pipeline.pretrain_dataset(
        shards, masking=MaskingConfig(), batch_size=BATCH_SIZE, max_boundary_offsets=15, seed=1
    )
    windows = weakref.ref(drawn.source.reader.windows)
    iterator = drawn.as_numpy_iterator()
    next(iterator)
    del drawn
    assert windows() is not None
    next(iterator)
    iterator.close()
    del iterator
    gc.collect()
    assert windows() is None


def test_batches_left_in_the_middle_end_without_a_word(shards_folder: Path) -> None:
    script = (
        "from spanbert_jax.config import MaskingConfig\n"
        "from spanbert_jax.data.pipeline import pretrain_dataset\n"
        "from spanbert_jax.data.token_shards import open_token_shards\n"
        f"shards = open_token_shards({str(shards_folder)!r}, sequence_length=32)\n"
        "for seed in range(8):\n"
        "    batches = pretrain_dataset(shards, masking=MaskingConfig(), batch_size=8,\n"
        "                               max_boundary_offsets=15, seed=seed)\n"
        "    iterator = batches.as_numpy_iterator()\n"
        "    del batches\n"
        "    next(iterator)\n"
        "    iterator.close()\n"
        "    iterator = None\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


def test_more_hosts_than_shards_share_the_batches(make_shards: Callable[..., Path]) -> None:
    shards = open_token_shards(make_shards(train=[30], held_out=[2]), sequence_length=LENGTH)
    hosts = [batches(shards, 3, share=share) for share in shares(8)]
    assert_equal(join(hosts), batches(shards, 3))


def test_another_seed_gives_another_order_and_other_masks(train: TokenShards) -> None:
    (one,), (other,) = batches(train, 1), batches(train, 1, seed=2)
    assert np.any(one.token_ids != other.token_ids)


def test_a_batch_may_be_larger_than_the_corpus(train: TokenShards) -> None:
    batch_size = 2 * train.num_blocks
    (batch,) = batches(train, 1, batch_size=batch_size)
    rows = original_rows(batch)
    assert sorted(rows[: train.num_blocks]) == sorted(rows[train.num_blocks :]) == all_blocks(train)


def test_a_limited_number_of_epochs_ends_with_rows_without_targets(train: TokenShards) -> None:
    seen = batches(train, None, num_epochs=1)
    assert sorted(row for batch in seen for row in original_rows(batch)) == all_blocks(train)
    num_rows = train.num_blocks % BATCH_SIZE
    assert np.all(seen[-1].masked_weights[:num_rows, 0] == 1)
    assert not np.any(seen[-1].masked_weights[num_rows:])
    assert not np.any(seen[-1].boundary_weights[num_rows:])


def test_every_held_out_block_counts_once_where_more_are_asked_for(held_out: TokenShards) -> None:
    seen = held_out_rows(held_out, num_batches=10_000)
    assert sorted(row for batch in seen for row in original_rows(batch)) == all_blocks(held_out)


def test_held_out_batches_are_always_the_same(held_out: TokenShards) -> None:
    expected = held_out_rows(held_out, num_batches=2)
    assert len(expected) == 2
    assert_equal(held_out_rows(held_out, num_batches=2), expected)
    hosts = [held_out_rows(held_out, num_batches=2, share=share) for share in shares(2)]
    assert_equal(join(hosts), expected)


def test_words_and_special_tokens_come_from_the_tokenizer_of_the_shards(train: TokenShards) -> None:
    vocabulary = train.vocabulary
    assert vocabulary.word_starts.tolist() == [True] * 65 + [False] * 35
    assert (vocabulary.pad_id, vocabulary.cls_id, vocabulary.sep_id, vocabulary.mask_id) == (
        0, 2, 3, 4,
    )  # fmt: skip
    assert vocabulary.cumulative_counts[-1] == train.summary.counts.num_tokens


def test_without_held_out_documents_the_remedy_is_named(make_shards: Callable[..., Path]) -> None:
    folder = make_shards(train=[3], held_out=[])
    with pytest.raises(UserError, match="held_out split must hold .* --held-out 0.01"):
        open_token_shards(folder, split="held_out", sequence_length=LENGTH)


def test_without_train_documents_the_remedy_is_named(make_shards: Callable[..., Path]) -> None:
    folder = make_shards(train=[], held_out=[3])
    with pytest.raises(UserError, match="train split must hold .* more text"):
        open_token_shards(folder, split="held_out", sequence_length=LENGTH)


def test_a_process_makes_any_rows_of_a_batch_and_no_others(train: TokenShards) -> None:
    share = np.array([1, 2, 6])
    expected = [PretrainBatch(*(field[share] for field in batch)) for batch in batches(train, 40)]
    assert_equal(batches(train, 40, share=share), expected)


def test_the_data_layer_works_where_jax_is_not_installed() -> None:
    # Its absence from sys.modules would say nothing: TensorFlow imports JAX where it finds it.
    script = (
        "import sys\n"
        "sys.modules.update(dict.fromkeys(['jax', 'jaxlib', 'flax']))\n"
        "import spanbert_jax.data.pipeline\n"
        "print('ready')"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert run.stdout == "ready\n", run.stderr

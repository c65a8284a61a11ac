"""Sentence pairs: BERT's rule one sentence at a time, and properties of whole batches."""

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from spanbert_jax.config import MaskingConfig
from spanbert_jax.corpus.pieces import Shard
from spanbert_jax.corpus.progress import SilentProgress
from spanbert_jax.corpus.shards import open_shard, write_shard
from spanbert_jax.data import masking
from spanbert_jax.data.batch import NO_PAIR, PretrainBatch, batch_shapes
from spanbert_jax.data.blocks import Rows
from spanbert_jax.data.cutting import BlockRule, count_rows
from spanbert_jax.data.host_tensorflow import tf
from spanbert_jax.data.masking import RowBatch, Vocabulary, mask_rows
from spanbert_jax.data.pipeline import held_out_batches, pretrain_dataset
from spanbert_jax.data.random_bits import fold_in
from spanbert_jax.data.rows import lay_out
from spanbert_jax.data.sentence_pairs import (
    Choices,
    Side,
    another_document,
    draw_pairs,
    make_pairs,
    shorten,
)
from spanbert_jax.data.token_shards import TokenShards, open_token_shards
from spanbert_jax.data.windows import Pieces, Window, load_window
from spanbert_jax.errors import UserError

PAD, CLS, SEP, MASK, FIRST_ID = 0, 1, 2, 3, 4
LENGTH, BATCH_SIZE, SEED = 64, 32, 7
MAX_TOKENS = LENGTH - 3
RULE = BlockRule("sentence_pair", LENGTH)
NUM_EPOCHS = 6
MAX_STANDARD_ERRORS = 4

Documents = list[list[list[int]]]
"""Token ids of sentences of documents."""


def random_documents() -> Documents:
    """Every token is another, so that a row says where its text comes from."""
    rng = np.random.default_rng(0)
    documents, token = [], itertools.count(FIRST_ID)
    for i in range(300):
        # Some sentences are longer than a row.
        longest = 150 if i % 20 == 0 else 30
        lengths = rng.integers(1, longest + 1, rng.integers(1, 20))
        documents.append([list(itertools.islice(token, int(n))) for n in lengths])
    return documents


def shard_of(documents: Documents) -> Shard:
    sentences = [sentence for document in documents for sentence in document]
    return Shard(
        np.array([token for sentence in sentences for token in sentence], np.uint16),
        np.cumsum([len(sentence) for sentence in sentences], dtype=np.int64),
        np.cumsum([len(document) for document in documents], dtype=np.int64),
    )


def pieces_of(folder: Path, *shards: Documents) -> Pieces:
    """One piece a shard."""
    folder.mkdir()
    infos = [
        write_shard(folder, f"train-{i:05d}", shard_of(documents))
        for i, documents in enumerate(shards)
    ]
    return Pieces([open_shard(folder, info) for info in infos])


def window_of(pieces: Pieces, rule: BlockRule) -> Window:
    """All of the text, one piece after the other."""
    num_rows = np.array([rule.cut(pieces.read(i))[1].num_rows for i in range(len(pieces))])
    return load_window(
        pieces, np.arange(len(pieces)), cut=lambda piece: rule.cut(piece)[0], num_rows=num_rows
    )


@pytest.fixture(scope="module")
def documents() -> Documents:
    return random_documents()


@pytest.fixture(scope="module")
def pieces(documents: Documents, tmp_path_factory: pytest.TempPathFactory) -> Pieces:
    folder = tmp_path_factory.mktemp("pairs") / "shards"
    return pieces_of(folder, documents[:120], documents[120:])


@pytest.fixture(scope="module")
def window(pieces: Pieces) -> Window:
    return window_of(pieces, RULE)


@pytest.fixture(scope="module")
def shards(pieces: Pieces, tmp_path_factory: pytest.TempPathFactory) -> TokenShards:
    vocab_size = FIRST_ID + int(pieces.num_tokens.sum())
    vocabulary = Vocabulary(
        word_starts=np.random.default_rng(1).random(vocab_size) < 0.7,
        cumulative_counts=np.cumsum(np.arange(vocab_size) >= FIRST_ID),
        cls_id=CLS, sep_id=SEP, mask_id=MASK, pad_id=PAD,
    )  # fmt: skip
    counts = count_rows(
        pieces, RULE, folder=tmp_path_factory.mktemp("counts"), split="train",
        progress=SilentProgress(),
    )  # fmt: skip
    return TokenShards(pieces, rule=RULE, counts=counts, vocabulary=vocabulary)


def batches(shards: TokenShards, num_batches: int | None, **how) -> list[PretrainBatch]:
    settings = dict(
        masking=MaskingConfig(), batch_size=BATCH_SIZE, max_boundary_offsets=15, seed=SEED
    )
    dataset = pretrain_dataset(shards, **(settings | how))
    return list(itertools.islice(dataset.as_numpy_iterator(), num_batches))


def join(parts: list[PretrainBatch]) -> PretrainBatch:
    return PretrainBatch(*map(np.concatenate, zip(*parts, strict=True)))


@pytest.fixture(scope="module")
def rows(shards: TokenShards) -> PretrainBatch:
    """Some epochs, in one batch."""
    return join(batches(shards, None, num_epochs=NUM_EPOCHS))


@pytest.fixture(scope="module")
def blocks(shards: TokenShards) -> np.ndarray:
    """The block of each of the `rows` but the fillers."""
    return shards.reader(SEED).order.locate(np.arange(NUM_EPOCHS * shards.num_blocks)).block


@pytest.fixture(scope="module")
def segments(rows: PretrainBatch, blocks: np.ndarray) -> list[tuple[list[int], list[int]]]:
    """A and B of each row, as they were before masking."""
    ids = rows.token_ids.copy()
    row, slot = np.nonzero(rows.masked_weights)
    ids[row, rows.masked_positions[row, slot]] = rows.masked_ids[row, slot]
    found = []
    for i in range(len(blocks)):
        first = ids[i, (rows.segment_ids[i] == 0) & (rows.document_ids[i] == 1)]
        second = ids[i, rows.segment_ids[i] == 1]
        assert (first[0], first[-1], second[-1]) == (CLS, SEP, SEP)
        found.append((first[1:-1].tolist(), second[:-1].tolist()))
    return found


def sentences_of_blocks(window: Window, documents: Documents) -> list[list[list[int]]]:
    """The sentences, or parts of them, in each block."""
    ends = {sentence[-1] for document in documents for sentence in document}
    found = []
    for start, length in zip(window.rows.start, window.rows.length, strict=True):
        sentences: list[list[int]] = [[]]
        for token in window.text.tokens[start : start + length].tolist():
            sentences[-1].append(token)
            if token in ends:
                sentences.append([])
        found.append([sentence for sentence in sentences if sentence])
    return found


def pair_by_pair(
    sentences: list[list[int]],
    documents: Documents,
    *,
    choices: np.ndarray,
    bits: np.ndarray,
    max_tokens: int,
) -> tuple[list[int], list[int], int]:
    """BERT's rule for one block, with the draws given."""
    split, coin, document, sentence = choices
    num_first = 1 + int(split * (len(sentences) - 1))
    first = list(itertools.chain(*sentences[:num_first]))
    second = list(itertools.chain(*sentences[num_first:]))
    is_random = coin < 0.5 or len(sentences) == 1
    if is_random:
        others = [other for other in documents if not any(first[0] in s for s in other)]
        other = others[int(document * len(others))]
        second = []
        for following in other[int(sentence * len(other)) :]:
            second += following
            if len(second) >= max_tokens - len(first):
                break
        second = second[:max_tokens]
    lengths = [len(first), len(second)]
    while sum(lengths) > max_tokens:
        lengths[0 if lengths[0] > lengths[1] else 1] -= 1
    goes_from_front = iter(np.unpackbits(bits.view(np.uint8)).tolist())
    for part, length in zip((first, second), lengths, strict=True):
        while len(part) > length:
            part.pop(0 if next(goes_from_front) else -1)
    return first, second, int(is_random)


def test_the_example_of_shorten() -> None:
    def run(start: int, length: int) -> Side:
        return Side(np.array([start]), np.array([length]))

    all_front, all_end = np.array([[2**64 - 1]], np.uint64), np.array([[0]], np.uint64)
    first, second = shorten(run(10, 5), run(30, 9), max_tokens=8, bits=all_end)
    assert (first.start[0], first.length[0]) == (10, 4)
    assert (second.start[0], second.length[0]) == (30, 4)
    first, second = shorten(run(10, 5), run(30, 9), max_tokens=8, bits=all_front)
    assert (first.start[0], first.length[0]) == (11, 4)
    assert (second.start[0], second.length[0]) == (35, 4)


def test_the_example_of_another_document() -> None:
    documents, exist = another_document(
        np.array([0, 1]), document_ids=np.array([7, 8, 7]), draw=np.array([0.9, 0.9])
    )
    assert documents.tolist() == [1, 2] and exist.tolist() == [True, True]


def test_every_part_of_other_documents_is_drawn_and_none_of_the_own() -> None:
    ids = np.array([4, 2, 4, 9, 9, 9])
    for own in range(6):
        documents, _ = another_document(
            np.full(600, own), document_ids=ids, draw=np.arange(600) / 600
        )
        others = np.flatnonzero(ids != ids[own])
        counts = np.bincount(documents, minlength=6)
        assert counts[others].tolist() == [600 // len(others)] * len(others)
        assert counts.sum() == 600


def test_where_there_is_no_other_document_nothing_is_random(tmp_path: Path) -> None:
    rule = BlockRule("sentence_pair", 8)
    window = window_of(pieces_of(tmp_path / "a", [[[11, 12], [13], [14] * 5]]), rule)
    draws = np.zeros((2, 4)), np.zeros((2, 1), np.uint64)
    assert texts_of(window, np.array([0, 1]), *draws, max_tokens=5) == [
        ([11, 12], [13], 0),
        ([14] * 5, [], NO_PAIR),
    ]


@pytest.mark.parametrize(
    ("choices", "first", "second", "label"),
    [
        ((0.0, 0.9, 0.0, 0.0), [11, 12], [13, 14, 15], 0),
        ((0.9, 0.9, 0.0, 0.0), [11, 12, 13], [14, 15], 0),
        ((0.0, 0.1, 0.0, 0.0), [11, 12], [21, 22, 23], 1),
        ((0.0, 0.1, 0.0, 0.9), [11, 12], [24], 1),
        ((0.9, 0.1, 0.9, 0.0), [11, 12, 13], [31, 32], 1),
    ],
)
def test_a_block_and_its_draws_say_which_text_stands_beside_which(
    choices: tuple[float, ...], first: list[int], second: list[int], label: int, tmp_path: Path
) -> None:
    rule = BlockRule("sentence_pair", 8)
    pieces = pieces_of(
        tmp_path / "a", [[[11, 12], [13], [14, 15]], [[21, 22, 23], [24]]], [[[31], [32]]]
    )
    window = window_of(pieces, rule)
    assert window.rows.length.tolist() == [5, 4, 2]
    draws = np.array([choices]), np.zeros((1, 1), np.uint64)
    found = texts_of(window, np.array([0]), *draws, max_tokens=5)
    assert found == [(first, second, label)]


def texts_of(
    window: Window,
    blocks: np.ndarray,
    choices: np.ndarray,
    bits: np.ndarray,
    *,
    max_tokens: int = MAX_TOKENS,
) -> list[tuple[list[int], list[int], int]]:
    """A, B and label of these blocks."""
    runs, labels = make_pairs(
        window.text, window.take(blocks), Choices(*choices.T), max_tokens=max_tokens,
        document_ids=window.document_ids, drop_bits=bits,
    )  # fmt: skip
    texts = [
        window.text.tokens[a : a + n].tolist() for a, n in zip(runs.start, runs.length, strict=True)
    ]
    return list(zip(texts[::2], texts[1::2], labels.tolist(), strict=True))


def example_rows(*, label: int, vocabulary: Vocabulary) -> RowBatch:
    """The pair 11 12 13 and 14 15, in a row of nine tokens."""
    text = Shard(np.arange(11, 16), np.array([3, 5]), np.array([1, 2]))
    runs = Rows(np.array([0, 2]), np.array([0, 3]), np.array([3, 2]))
    rows = lay_out(
        text, runs, next_sentence_label=np.array([label], np.int32), blocks="sentence_pair",
        sequence_length=9, vocabulary=vocabulary,
    )  # fmt: skip
    return RowBatch(*map(tf.constant, rows))


def test_a_pair_with_a_hidden_token_in_each_segment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masking, "hidden_positions", lambda *_, **__: tf.constant([2, 6]))
    vocabulary = Vocabulary(np.ones(20, bool), np.arange(20), CLS, SEP, MASK, PAD)
    batch = mask_rows(
        example_rows(label=1, vocabulary=vocabulary),
        seeds=tf.constant([0], tf.uint64), vocabulary=vocabulary,
        config=MaskingConfig(mask_token_prob=1.0, random_token_prob=0.0), num_predictions=3,
        max_boundary_offsets=15,
    )  # fmt: skip
    expected = PretrainBatch(
        token_ids=[[CLS, 11, MASK, 13, SEP, 14, MASK, SEP, PAD]],
        segment_ids=[[0, 0, 0, 0, 0, 1, 1, 1, 0]],
        document_ids=[[1, 1, 1, 1, 1, 1, 1, 1, 0]],
        position_ids=[list(range(9))],
        masked_positions=[[2, 6, 0]],
        masked_ids=[[12, 15, 0]],
        masked_weights=[[1, 1, 0]],
        boundary_left=[[1, 0, 0]],
        boundary_right=[[3, 0, 0]],
        boundary_offset=[[0, 0, 0]],
        boundary_weights=[[1, 0, 0]],
        next_sentence_label=[1],
    )
    for name, field in expected._asdict().items():
        assert getattr(batch, name).numpy().tolist() == field, name


def test_pairs_equal_those_made_one_sentence_and_one_token_at_a_time(
    window: Window, documents: Documents
) -> None:
    blocks = np.arange(len(window.rows.start))
    seeds = tf.cast(tf.range(len(blocks)), tf.uint64)
    choices, bits = (draws.numpy() for draws in draw_pairs(seeds, max_tokens=MAX_TOKENS))
    assert texts_of(window, blocks, choices, bits) == [
        pair_by_pair(sentences, documents, choices=a, bits=b, max_tokens=MAX_TOKENS)
        for sentences, a, b in zip(
            sentences_of_blocks(window, documents), choices, bits, strict=True
        )
    ]


def test_rows_have_the_shapes_and_the_layout_of_the_contract(shards: TokenShards) -> None:
    (batch,) = batches(shards, 1)
    slots = MaskingConfig().num_predictions(LENGTH, "sentence_pair")
    for name, shape in batch_shapes(BATCH_SIZE, LENGTH, slots).items():
        field = getattr(batch, name)
        assert field.shape == shape and field.dtype == np.int32, name
    for token_ids, segment_ids, is_real, position_ids in zip(*batch[:4], strict=True):
        num_real = is_real.sum()
        first_end, second_end = np.flatnonzero(token_ids == SEP)
        assert token_ids[0] == CLS and second_end == num_real - 1
        assert is_real.tolist() == [1] * num_real + [0] * (LENGTH - num_real)
        in_second = num_real - first_end - 1
        assert segment_ids.tolist() == (
            [0] * (first_end + 1) + [1] * in_second + [0] * (LENGTH - num_real)
        )
        assert position_ids.tolist() == list(range(LENGTH))
        assert not np.any(token_ids[num_real:])


def test_every_block_begins_a_pair_once_an_epoch(
    shards: TokenShards, window: Window, documents: Documents, blocks: np.ndarray, segments
) -> None:
    block_of = {
        token: i
        for i, sentences in enumerate(sentences_of_blocks(window, documents))
        for token in itertools.chain(*sentences)
    }
    begun = [block_of[first[0]] for first, _ in segments]
    assert begun == blocks.tolist()
    for epoch in np.array(begun).reshape(NUM_EPOCHS, -1):
        assert sorted(epoch.tolist()) == list(range(shards.num_blocks))


def test_half_of_the_blocks_of_several_sentences_are_joined_with_random_text(
    window: Window, documents: Documents, rows: PretrainBatch, blocks: np.ndarray
) -> None:
    num_sentences = np.array(
        [len(sentences) for sentences in sentences_of_blocks(window, documents)]
    )[blocks]
    labels = rows.next_sentence_label[: len(blocks)]
    coins = labels[num_sentences > 1]
    assert len(coins) > 3_000
    assert abs(coins.mean() - 0.5) < MAX_STANDARD_ERRORS * 0.5 / np.sqrt(len(coins))
    assert np.any(num_sentences == 1) and np.all(labels[num_sentences == 1] == 1)


def test_what_follows_is_the_rest_of_the_block_and_what_is_random_is_of_another_document(
    documents: Documents, rows: PretrainBatch, segments
) -> None:
    document_of = {
        token: i for i, document in enumerate(documents) for s in document for token in s
    }
    sentence_ends = {sentence[-1] for document in documents for sentence in document}
    document_ends = {document[-1][-1] for document in documents}
    for (first, second), label in zip(segments, rows.next_sentence_label, strict=False):
        assert len(first) > 0 and 0 < len(second) <= MAX_TOKENS - len(first)
        assert first == list(range(first[0], first[0] + len(first)))
        assert second == list(range(second[0], second[0] + len(second)))
        homes = {document_of[token] for token in (first[0], first[-1])}
        others = {document_of[token] for token in (second[0], second[-1])}
        assert len(homes) == len(others) == 1
        if label == 0:
            assert second[0] == first[-1] + 1 and first[-1] in sentence_ends and homes == others
        else:
            assert homes != others
            is_full = len(first) + len(second) == MAX_TOKENS
            assert is_full or second[-1] in document_ends


def test_other_documents_are_drawn_alike_whatever_their_length(
    documents: Documents, rows: PretrainBatch, segments
) -> None:
    document_of = {
        token: i for i, document in enumerate(documents) for s in document for token in s
    }
    labels = rows.next_sentence_label[: len(segments)]
    randoms = itertools.compress(segments, labels)
    drawn = [document_of[second[0]] for _, second in randoms]
    counts = np.bincount(drawn, minlength=len(documents))
    expected = len(drawn) / len(documents)
    # 300 documents: the largest of so many deviations is beyond 4 standard errors more often.
    assert np.max(np.abs(counts - expected)) < 5 * np.sqrt(expected)


def test_three_sentences_are_split_after_either_of_the_first_two(
    window: Window, documents: Documents
) -> None:
    sentences = sentences_of_blocks(window, documents)
    block = next(i for i, found in enumerate(sentences) if len(found) == 3)
    seeds = tf.cast(tf.range(4_000), tf.uint64)
    draws = [draws.numpy() for draws in draw_pairs(seeds, max_tokens=MAX_TOKENS)]
    pairs = texts_of(window, np.full(4_000, block), *draws)
    firsts = np.array([len(first) for first, _, label in pairs if not label])
    one = len(sentences[block][0])
    assert set(firsts.tolist()) == {one, one + len(sentences[block][1])}
    assert abs(np.mean(firsts == one) - 0.5) < MAX_STANDARD_ERRORS * 0.5 / np.sqrt(len(firsts))


def test_tokens_are_dropped_from_the_front_and_from_the_end_alike() -> None:
    num_rows, bits = 2_000, draw_pairs(tf.cast(tf.range(2_000), tf.uint64), max_tokens=100)[1]

    def runs(length: int) -> Side:
        return Side(*np.full((2, num_rows), [[0], [length]]))

    first, second = shorten(runs(90), runs(60), max_tokens=100, bits=bits.numpy())
    assert set(first.length.tolist()) == set(second.length.tolist()) == {50}
    for run, dropped in ((first, 40), (second, 10)):
        error = 0.5 * np.sqrt(dropped / num_rows)
        assert abs(run.start.mean() - dropped / 2) < MAX_STANDARD_ERRORS * error
        assert run.start.std() == pytest.approx(0.5 * np.sqrt(dropped), rel=0.1)
    assert abs(np.corrcoef(first.start, second.start)[0, 1]) < MAX_STANDARD_ERRORS / np.sqrt(2_000)


@pytest.mark.parametrize("scheme", ["geometric_span", "whole_word", "subword"])
def test_each_segment_hides_exactly_its_own_budget_and_no_span_goes_beyond_it(
    shards: TokenShards, scheme: str
) -> None:
    batch = join(batches(shards, 40, masking=MaskingConfig(scheme=scheme)))
    for i in range(len(batch.token_ids)):
        is_target = batch.masked_weights[i] == 1
        positions = batch.masked_positions[i, is_target]
        assert np.all(np.diff(positions) > 0)
        hidden = set(positions.tolist())
        first_end = int(np.argmax(batch.segment_ids[i] == 1)) - 1
        second_end = int(batch.document_ids[i].sum()) - 1
        for begin, end in ((1, first_end), (first_end + 1, second_end)):
            inside = {position for position in hidden if begin <= position < end}
            assert len(inside) == -(-15 * (end - begin) // 100)
            hidden -= inside
            for slot in np.flatnonzero(np.isin(batch.masked_positions[i], list(inside))):
                if not is_target[slot]:
                    continue
                first = last = int(batch.masked_positions[i, slot])
                while first - 1 in inside:
                    first -= 1
                while last + 1 in inside:
                    last += 1
                offset = int(batch.masked_positions[i, slot]) - first
                has_boundary = first > begin and last + 1 < end and offset < 15
                expected = (first - 1, last + 1, offset, 1) if has_boundary else (0, 0, 0, 0)
                assert tuple(int(field[i, slot]) for field in batch[7:11]) == expected
        assert not hidden


def test_segments_are_masked_as_blocks_of_their_own(shards: TokenShards) -> None:
    rng = np.random.default_rng(2)
    lengths = rng.integers(1, 31, (200, 2)).astype(np.int32)
    texts = rng.integers(FIRST_ID, 1_000, (2, 200, 30)).astype(np.int32)
    # Of the text of row i, A begins at 60 i and B at 60 i + 30.
    text = Shard(texts.swapaxes(0, 1).ravel(), *(np.zeros(0, np.int64),) * 2)
    starts = np.arange(400).reshape(200, 2) * 30

    def rows_of(sides: list[int], **layout) -> RowBatch:
        splits = np.arange(201) * len(sides)
        runs = Rows(splits, starts[:, sides].ravel(), lengths[:, sides].ravel().astype(np.int64))
        labels = np.full(200, NO_PAIR, np.int32)
        rows = lay_out(
            text, runs, next_sentence_label=labels, vocabulary=shards.vocabulary, **layout
        )
        return RowBatch(*map(tf.constant, rows))

    seeds = tf.cast(tf.range(200), tf.uint64)
    how = dict(vocabulary=shards.vocabulary, config=MaskingConfig(), max_boundary_offsets=15)
    pairs = mask_rows(
        rows_of([0, 1], blocks="sentence_pair", sequence_length=63), seeds=seeds,
        num_predictions=10, **how,
    )  # fmt: skip
    alone = [
        mask_rows(
            rows_of([i], blocks="document", sequence_length=32), num_predictions=5,
            seeds=fold_in(seeds, tf.constant(i)), **how,
        )
        for i in range(2)
    ]  # fmt: skip
    for row in range(200):
        targets = [np.flatnonzero(batch.masked_weights[row]) for batch in (pairs, *alone)]
        for name in ("masked_positions", "boundary_left", "boundary_right", "boundary_offset"):
            of_pair = getattr(pairs, name).numpy()[row, targets[0]]
            first, second = (
                getattr(batch, name).numpy()[row, slots]
                for batch, slots in zip(alone, targets[1:], strict=True)
            )
            if name != "boundary_offset":
                # Zeros stay: they are no positions.
                second = np.where(second > 0, second + lengths[row, 0] + 1, 0)
            np.testing.assert_array_equal(of_pair, [*first, *second], err_msg=name)


def test_prediction_slots_suffice_for_every_pair_and_are_not_too_many() -> None:
    for mask_ratio in (0.07, 0.15, 0.5, 0.7):
        config = MaskingConfig(mask_ratio=mask_ratio)
        for length in (8, 20, 64):
            needed = max(
                config.budget(first) + config.budget(second)
                for first in range(1, length)
                for second in range(1, length - 2 - first)
            )
            assert config.num_predictions(length, "sentence_pair") == needed
    assert MaskingConfig().num_predictions(512, "sentence_pair") == 78


@pytest.mark.parametrize("num_hosts", [2, 4])
def test_any_number_of_hosts_makes_the_same_global_batches(
    shards: TokenShards, num_hosts: int
) -> None:
    expected = batches(shards, 6)
    shares = np.split(np.arange(BATCH_SIZE), num_hosts)
    hosts = [batches(shards, 6, share=share) for share in shares]
    for step, batch in enumerate(expected):
        joined = join([host[step] for host in hosts])
        for name, field in batch._asdict().items():
            np.testing.assert_array_equal(getattr(joined, name), field, err_msg=name)


@pytest.mark.parametrize("step", [1, 9, 40])
def test_a_resumed_run_sees_the_batches_of_an_uninterrupted_one(
    shards: TokenShards, step: int
) -> None:
    resumed = join(batches(shards, 3, first_example=step * BATCH_SIZE))
    expected = join(batches(shards, step + 3)[step:])
    for name, field in expected._asdict().items():
        np.testing.assert_array_equal(getattr(resumed, name), field, err_msg=name)


def test_a_block_finds_other_company_in_the_next_epoch(
    rows: PretrainBatch, blocks: np.ndarray, segments
) -> None:
    seconds: dict[int, set[int]] = {}
    for block, (_, second) in zip(blocks.tolist(), segments, strict=True):
        seconds.setdefault(block, set()).add(second[0])
    assert np.mean([len(found) for found in seconds.values()]) > 0.6 * NUM_EPOCHS


def test_rows_that_fill_up_the_last_batch_are_no_pairs(shards: TokenShards) -> None:
    last = batches(shards, None, num_epochs=1)[-1]
    num_rows = shards.num_blocks % BATCH_SIZE
    assert num_rows > 0
    assert np.all(last.next_sentence_label[:num_rows] >= 0)
    assert np.all(last.next_sentence_label[num_rows:] == NO_PAIR)
    assert not np.any(last.masked_weights[num_rows:])
    assert not np.any(last.segment_ids[num_rows:, 3:])


def test_folders_of_shards_are_read_as_pairs_where_asked_and_held_out_ones_never_change(
    shards_folder: Path,
) -> None:
    held_out = open_token_shards(
        shards_folder, split="held_out", sequence_length=32, blocks="sentence_pair"
    )
    settings = dict(
        masking=MaskingConfig(), batch_size=8, max_boundary_offsets=15, num_batches=10_000
    )
    one, again = (
        list(held_out_batches(held_out, **settings).as_numpy_iterator()) for _ in range(2)
    )
    for name, field in join(one)._asdict().items():
        np.testing.assert_array_equal(getattr(join(again), name), field, err_msg=name)
    labels = join(one).next_sentence_label
    assert np.sum(labels >= 0) == held_out.num_blocks
    assert {0, 1} <= set(labels.tolist())


def test_rows_of_documents_are_no_pairs(shards_folder: Path) -> None:
    (batch,) = batches(open_token_shards(shards_folder, sequence_length=32), 1)
    assert set(batch.next_sentence_label.tolist()) == {NO_PAIR}
    assert not np.any(batch.segment_ids)


@pytest.mark.parametrize(("split", "remedy"), [("train", "more text"), ("held_out", "--held-out")])
def test_a_single_document_is_an_error_with_a_remedy(
    split: str, remedy: str, make_shards: Callable[..., Path]
) -> None:
    numbers = {"train": [2, 1], "held_out": [3]} | {split: [1]}
    folder = make_shards(**numbers)
    assert open_token_shards(folder, split=split, sequence_length=32).num_blocks > 0
    with pytest.raises(UserError) as error:
        open_token_shards(folder, split=split, sequence_length=32, blocks="sentence_pair")
    message = str(error.value)
    assert message.startswith("--data.blocks sentence_pair: a random second segment is of another ")
    assert f"the {split} split of --data.shards {folder} must hold at least 2, found 1" in message
    assert "use --data.blocks document" in message and remedy in message

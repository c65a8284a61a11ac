"""One split of a folder of shards, as rows that can be read by their place in the order.

In: a folder written by `spanbert prepare`. Out: rows of token ids, before masking, of any examples.
Of the corpus a host holds the windows that it reads from, and 100 bytes for each of its megabytes.
"""

import functools
from dataclasses import dataclass

import numpy as np
from etils import epath
from jaxtyping import Int64

from spanbert_jax.config import BlockKind, MaskingConfig, OverLongSentences
from spanbert_jax.corpus.pieces import Shard
from spanbert_jax.corpus.progress import Progress, SilentProgress
from spanbert_jax.corpus.shards import Manifest, open_shard, read_manifest, read_unigram_counts
from spanbert_jax.corpus.tokenizers import load_tokenizer
from spanbert_jax.data.batch import NO_PAIR
from spanbert_jax.data.blocks import BlockSummary, RowCounts, Rows
from spanbert_jax.data.cutting import BlockRule, count_rows
from spanbert_jax.data.masking import RowBatch, Vocabulary
from spanbert_jax.data.order import DataOrder, Places
from spanbert_jax.data.rows import empty_runs, join, lay_out
from spanbert_jax.data.sentence_pairs import Choices, make_pairs
from spanbert_jax.data.windows import Pieces, Windows, load_window
from spanbert_jax.errors import UserError


class TokenShards:
    """The rows of one split, ready to be read."""

    def __init__(
        self,
        pieces: Pieces,
        *,
        rule: BlockRule,
        counts: Int64[np.ndarray, "pieces counts"],
        vocabulary: Vocabulary,
    ) -> None:
        """counts: as `count_rows` gives them."""
        self.rule = rule
        self.vocabulary = vocabulary
        self.pieces = pieces
        self._counts = counts
        self._reader = functools.lru_cache(maxsize=2)(self._make_reader)

    @property
    def num_blocks(self) -> int:
        return int(self._rows_in_piece.sum())

    @property
    def sequence_length(self) -> int:
        """Tokens in a row, L, with [CLS] and [SEP]."""
        return self.rule.sequence_length

    @property
    def block_kind(self) -> BlockKind:
        return self.rule.blocks

    @property
    def summary(self) -> BlockSummary:
        counts = RowCounts(*self._counts.sum(axis=0).tolist())
        return BlockSummary(self.sequence_length, counts)

    @property
    def _rows_in_piece(self) -> Int64[np.ndarray, " pieces"]:
        return self._counts[:, RowCounts._fields.index("num_rows")]

    def reader(self, seed: int) -> "RowReader":
        """The rows in the order of a seed; what it has in memory is kept for the next call."""
        return self._reader(seed)

    def _make_reader(self, seed: int) -> "RowReader":
        order = DataOrder(self._rows_in_piece, seed=seed)
        windows = Windows(order, load=functools.partial(load_window, self.pieces, cut=self._cut))
        return RowReader(order, windows, rule=self.rule, vocabulary=self.vocabulary)

    def _cut(self, piece: Shard) -> Rows:
        return self.rule.cut(piece)[0]


@dataclass(frozen=True)
class RowReader:
    """Rows in the order of one seed. Calls may come from several threads, in about that order."""

    order: DataOrder
    windows: Windows
    rule: BlockRule
    vocabulary: Vocabulary

    def read(
        self,
        examples: Int64[np.ndarray, " n"],
        num_filled: int | np.integer,
        *draws: np.ndarray,
    ) -> RowBatch:
        """The rows of ascending examples; those from `num_filled` on are left empty.

        draws: of each row, as `draw_pairs` gives them; only sentence pairs draw anything.

        Raises:
            UserError: a piece of the corpus is missing or altered.
        """
        num_filled = int(num_filled)
        places = self.order.locate(examples[:num_filled])
        changes = (np.diff(field, prepend=-1) for field in (places.epoch, places.window))
        starts = np.flatnonzero(np.logical_or(*changes))
        ends = [*starts.tolist(), num_filled][1:]
        batches = [
            self._of_window(
                Places(*(field[a:b] for field in places)),
                [draw[a:b] for draw in draws],
                last_example=int(examples[b - 1]),
            )
            for a, b in zip(starts.tolist(), ends, strict=True)
        ]
        if num_filled < len(examples):
            batches.append(self._empty(len(examples) - num_filled))
        return join(batches)

    def _of_window(
        self,
        places: Places,
        draws: list[np.ndarray],
        *,
        last_example: int,
    ) -> RowBatch:
        window = self.windows.get(
            int(places.epoch[0]), int(places.window[0]),
            is_past_middle=self.order.progress(last_example) > 0.5,
        )  # fmt: skip
        runs = window.runs(places.row)
        labels = np.full(len(places.row), NO_PAIR, np.int32)
        if self.rule.blocks == "sentence_pair":
            choices, drop_bits = draws
            runs, labels = make_pairs(
                window.text, runs, Choices(*choices.T), max_tokens=self.rule.max_tokens,
                drop_bits=drop_bits,
            )  # fmt: skip
        return lay_out(window.text, runs, next_sentence_label=labels, **self._layout)

    def _empty(self, num_rows: int) -> RowBatch:
        no_text = Shard(*(np.zeros(0, np.int64),) * 3)
        runs = empty_runs(num_rows, runs_in_row=2 if self.rule.blocks == "sentence_pair" else 1)
        labels = np.full(num_rows, NO_PAIR, np.int32)
        return lay_out(no_text, runs, next_sentence_label=labels, **self._layout)

    @property
    def _layout(self) -> dict:
        return {
            "blocks": self.rule.blocks,
            "sequence_length": self.rule.sequence_length,
            "vocabulary": self.vocabulary,
        }


def open_token_shards(
    folder: epath.PathLike,
    *,
    split: str = "train",
    sequence_length: int,
    blocks: BlockKind = "document",
    over_long_sentences: OverLongSentences = "split",
    mask_ratio: float = MaskingConfig.mask_ratio,
    progress: Progress | None = None,
) -> TokenShards:
    """Open one split ("train" or "held_out") of a folder written by `spanbert prepare`.

    progress: is told of the first count of rows of this length, a minute for 10 billion tokens.

    Raises `UserError` where the folder holds no shards, or the split too few documents: one, or two
    where half of all sentence pairs join text of different ones.
    """
    manifest = read_manifest(folder)
    for name, remedy in (("train", "more text"), (split, "--held-out 0.01")):
        _require_documents(folder, manifest, split=name, blocks=blocks, remedy=remedy)
    pieces = Pieces([open_shard(folder, info) for info in manifest.splits[split]])
    rule = BlockRule(blocks, sequence_length, over_long_sentences, mask_ratio)
    counts = count_rows(
        pieces, rule, folder=folder, split=split, progress=progress or SilentProgress()
    )
    shards = TokenShards(pieces, rule=rule, counts=counts, vocabulary=_vocabulary(folder, manifest))
    if not shards.num_blocks:
        raise UserError(
            f"--data.over-long-sentences {over_long_sentences}: must leave text to train on, but "
            f"nothing is left of the {split} split of --data.shards {folder}: every sentence is "
            f"longer than {rule.max_tokens} tokens or lost with one; use split"
        )
    return shards


def _require_documents(
    folder: epath.PathLike, manifest: Manifest, *, split: str, blocks: BlockKind, remedy: str
) -> None:
    found = manifest.totals[split]["num_documents"]
    if found == 0:
        raise UserError(
            f"--data.shards {folder}: the {split} split must hold at least one document, "
            f"found none; run `spanbert prepare` with {remedy} into a new folder"
        )
    if found == 1 and blocks == "sentence_pair":
        raise UserError(
            f"--data.blocks {blocks}: a random second segment is of another document, so the "
            f"{split} split of --data.shards {folder} must hold at least 2, found 1; use "
            f"--data.blocks document, or run `spanbert prepare` with {remedy} into a new folder"
        )


def _vocabulary(folder: epath.PathLike, manifest: Manifest) -> Vocabulary:
    tokenizer = load_tokenizer(epath.Path(folder) / manifest.tokenizer.file)
    return Vocabulary(
        word_starts=np.asarray(tokenizer.word_starts),
        cumulative_counts=np.cumsum(read_unigram_counts(folder, manifest)),
        cls_id=tokenizer.cls_id,
        sep_id=tokenizer.sep_id,
        mask_id=tokenizer.mask_id,
        pad_id=tokenizer.pad_id,
    )

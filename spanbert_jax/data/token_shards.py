"""One split of a folder of shards, as rows that can be read by their place in the order.

In: a folder written by `spanbert prepare`. Out: rows of token ids, before masking, of any examples.
Of the corpus a host holds two windows, and some 200 bytes for each of its megabytes.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from etils import epath
from jaxtyping import Int64

from spanbert_jax.config import BlockKind, MaskingConfig, OverLongSentences
from spanbert_jax.corpus.pieces import Shard
from spanbert_jax.corpus.progress import Progress, SilentProgress
from spanbert_jax.corpus.shards import Manifest, open_shard, read_manifest, read_unigram_counts
from spanbert_jax.corpus.tokenizers import load_tokenizer
from spanbert_jax.data.batch import NO_PAIR
from spanbert_jax.data.blocks import BlockSummary, RowCounts
from spanbert_jax.data.cutting import BlockRule, count_rows
from spanbert_jax.data.masking import RowBatch, Vocabulary
from spanbert_jax.data.order import DataOrder, Places
from spanbert_jax.data.rows import empty_rows, join, lay_out
from spanbert_jax.data.sentence_pairs import Choices, make_pairs
from spanbert_jax.data.windows import Pieces, Window, Windows, load_window
from spanbert_jax.errors import UserError

# Files asked for at a time: a bucket answers each in tens of milliseconds.
_NUM_OPENED = 16
NO_END = 2**63 - 1
"""No example is the first beyond the data."""


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

    @property
    def num_blocks(self) -> int:
        return int(self.rows_in_piece.sum())

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
    def rows_in_piece(self) -> Int64[np.ndarray, " pieces"]:
        return self._counts[:, RowCounts._fields.index("num_rows")]

    def reader(self, seed: int) -> "RowReader":
        """The rows in the order of a seed; it has windows in memory as long as it is held."""
        order = DataOrder(self.rows_in_piece, seed=seed)
        rule, pieces, num_rows = self.rule, self.pieces, self.rows_in_piece
        windows = Windows(
            order,
            load=lambda numbers: load_window(
                pieces, numbers, cut=lambda piece: rule.cut(piece)[0], num_rows=num_rows
            ),
        )
        return RowReader(order, windows, rule=rule, vocabulary=self.vocabulary)


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
        places: Places,
        *draws: np.ndarray,
        end_example: int = NO_END,
    ) -> RowBatch:
        """The rows of ascending examples; those from `end_example` on are left empty.

        places: of the examples, as the order locates them.
        draws: of each row, as `draw_pairs` gives them; only sentence pairs draw anything.

        Raises:
            UserError: a piece of the corpus is missing or altered.
        """
        num_filled = int(np.searchsorted(examples, end_example))
        places = Places(*(field[:num_filled] for field in places))
        changes = (np.diff(field, prepend=-1) for field in (places.epoch, places.window))
        starts = np.flatnonzero(np.logical_or(*changes))
        ends = [*starts.tolist(), num_filled][1:]
        batches = []
        for a, b in zip(starts.tolist(), ends, strict=True):
            window = self.windows.get(
                int(places.epoch[a]), int(places.window[a]),
                read_next=self._needs_next(int(examples[b - 1]), end_example),
            )  # fmt: skip
            batches.append(self._of_window(window, places.row[a:b], [each[a:b] for each in draws]))
        if num_filled < len(examples):
            batches.append(self._empty(len(examples) - num_filled))
        return join(batches)

    def _needs_next(self, example: int, end_example: int) -> bool:
        """Whether the next window is to be read now: from the middle of one on, if it comes."""
        place = self.order.place_in_window(example)
        return place.passed > place.size // 2 and example + place.size - place.passed < end_example

    def _of_window(
        self, window: Window, rows: Int64[np.ndarray, " n"], draws: list[np.ndarray]
    ) -> RowBatch:
        taken = window.take(rows)
        labels = np.full(len(rows), NO_PAIR, np.int32)
        if self.rule.blocks == "sentence_pair":
            choices, drop_bits = draws
            taken, labels = make_pairs(
                window.text, taken, Choices(*choices.T), document_ids=window.document_ids,
                max_tokens=self.rule.max_tokens, drop_bits=drop_bits,
            )  # fmt: skip
        return lay_out(window.text, taken, next_sentence_label=labels, **self._layout)

    def _empty(self, num_rows: int) -> RowBatch:
        no_text = Shard(*(np.zeros(0, np.int64),) * 3)
        empty = empty_rows(num_rows, runs_in_row=2 if self.rule.blocks == "sentence_pair" else 1)
        labels = np.full(num_rows, NO_PAIR, np.int32)
        return lay_out(no_text, empty, next_sentence_label=labels, **self._layout)

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
    """Open one split ("train" or "held_out") of a folder, cut into rows of one length.

    progress: is told of the first count of rows of this length, a minute for 10 billion tokens.

    Raises `UserError` as `open_split` does, and where no row is left.
    """
    rule = BlockRule(blocks, sequence_length, over_long_sentences, mask_ratio)
    return open_split(folder, split, blocks=blocks).in_rows(rule, progress=progress)


class Split(NamedTuple):
    """One split of a folder of shards, of which rows of any length can be made."""

    folder: epath.PathLike
    name: str
    pieces: Pieces
    vocabulary: Vocabulary

    def in_rows(self, rule: BlockRule, *, progress: Progress | None = None) -> TokenShards:
        """Its rows by a rule, counted first where they never were."""
        counts = count_rows(
            self.pieces, rule, folder=self.folder, split=self.name,
            progress=progress or SilentProgress(),
        )  # fmt: skip
        shards = TokenShards(self.pieces, rule=rule, counts=counts, vocabulary=self.vocabulary)
        if not shards.num_blocks:
            raise UserError(
                f"--data.over-long-sentences {rule.over_long_sentences}: must leave text to train "
                f"on, but nothing is left of the {self.name} split of --data.shards {self.folder}: "
                f"every sentence is longer than {rule.max_tokens} tokens or lost with one; use "
                "split"
            )
        return shards


def open_split(folder: epath.PathLike, split: str, *, blocks: BlockKind) -> Split:
    """Open one split ("train" or "held_out") of a folder written by `spanbert prepare`.

    Raises `UserError` where the folder holds no shards, or the split too few documents: one, or two
    where half of all sentence pairs join text of different ones.
    """
    manifest = read_manifest(folder)
    for name, remedy in (("train", "more text"), (split, "--held-out 0.01")):
        _require_documents(folder, manifest, split=name, blocks=blocks, remedy=remedy)
    with ThreadPoolExecutor(_NUM_OPENED) as opening:
        shards = opening.map(lambda info: open_shard(folder, info), manifest.splits[split])
        pieces = Pieces(list(shards))
    return Split(folder, split, pieces, _vocabulary(folder, manifest))


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

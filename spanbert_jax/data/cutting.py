"""Cuts the pieces of a corpus into rows, by one rule, and knows how many rows each piece gives.

In: pieces. Out: rows, and the count of rows of every piece, which is all that the order of the data
must know of the corpus. Counting reads no tokens: a twelfth of the bytes on a disk, about half of
them from a bucket, which is read 512 KB at a time. It is done once for a length and kept beside the
shards.
"""

import contextlib
import dataclasses
import hashlib
import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from etils import epath
from jaxtyping import Int64

from spanbert_jax.config import BlockKind, MaskingConfig, OverLongSentences, tokens_of_text
from spanbert_jax.corpus.files import FullDisk, as_path
from spanbert_jax.corpus.pieces import Shard
from spanbert_jax.corpus.progress import Progress
from spanbert_jax.corpus.shards import write_array
from spanbert_jax.data.blocks import RowCounts, Rows, document_rows
from spanbert_jax.data.packing import packed_rows
from spanbert_jax.data.windows import NUM_READERS, Pieces
from spanbert_jax.errors import storage_error

COUNTS_FOLDER = "blocks"
# Changed where the same rule begins to cut in another way: what was counted before is void.
_RULES_VERSION = 1


@dataclass(frozen=True)
class BlockRule:
    """What becomes a row."""

    blocks: BlockKind
    sequence_length: int
    over_long_sentences: OverLongSentences = "split"
    mask_ratio: float = 0.15
    """Packed rows are filled only as far as their prediction slots reach."""

    @property
    def max_tokens(self) -> int:
        """Tokens of text in a row, of a single document or pair."""
        return tokens_of_text(self.sequence_length, self.blocks)

    def cut(self, piece: Shard) -> tuple[Rows, RowCounts]:
        """The rows of one piece; its token ids are not looked at."""
        if self.blocks == "packed":
            masking = MaskingConfig(mask_ratio=self.mask_ratio)
            return packed_rows(
                piece,
                sequence_length=self.sequence_length,
                max_slots=masking.num_predictions(self.sequence_length, "packed"),
                budget=masking.budget,
            )
        return document_rows(piece, max_tokens=self.max_tokens, over_long=self.over_long_sentences)


def count_rows(
    pieces: Pieces,
    rule: BlockRule,
    *,
    folder: epath.PathLike,
    split: str,
    progress: Progress,
) -> Int64[np.ndarray, "pieces counts"]:
    """`RowCounts` of every piece, from an earlier count of the same pieces where there is one."""
    path = as_path(folder) / COUNTS_FOLDER / f"{split}-{_name(rule, pieces)}.npy"
    shape = (len(pieces), len(RowCounts._fields))
    with contextlib.suppress(OSError, ValueError, EOFError):
        found = np.load(io.BytesIO(path.read_bytes()))
        if found.shape == shape and found.dtype == np.int64:
            return found
    counts = np.zeros(shape, np.int64)
    stage = f"counting the rows of {rule.sequence_length} tokens in the {split} split"
    total = float(pieces.num_tokens.sum() * pieces.dtype.itemsize)
    done = 0.0
    with ThreadPoolExecutor(NUM_READERS) as readers:
        numbers = range(len(pieces))
        for number, row in zip(numbers, readers.map(_count(pieces, rule), numbers), strict=True):
            counts[number] = row
            done += float(pieces.num_tokens[number] * pieces.dtype.itemsize)
            progress.update(stage, done, total)
    _keep(counts, path)
    return counts


def _keep(counts: np.ndarray, path: epath.Path) -> None:
    """Write the counts where there is room and permission; else the next start counts anew."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_array(path, counts)
    except Exception as error:
        if not isinstance(error, OSError | FullDisk) and storage_error(error) is None:
            raise


def _count(pieces: Pieces, rule: BlockRule) -> Callable[[int], RowCounts]:
    return lambda number: rule.cut(pieces.read_layout(number))[1]


def _name(rule: BlockRule, pieces: Pieces) -> str:
    """Of the rule, for people, and of everything that the counts depend on."""
    if rule.blocks != "packed":
        rule = dataclasses.replace(rule, mask_ratio=0.0)
    about = (_RULES_VERSION, dataclasses.astuple(rule), pieces.fingerprint)
    digest = hashlib.sha256(repr(about).encode()).hexdigest()
    return f"{rule.blocks}-{rule.sequence_length}-{digest[:16]}"

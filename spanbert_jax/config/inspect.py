"""What `spanbert inspect` is asked."""

import typing
from dataclasses import dataclass, field, replace
from typing import Literal

from spanbert_jax.config.data import (
    BlockKind,
    DataConfig,
    MaskingConfig,
    MaskingScheme,
    OverLongSentences,
)
from spanbert_jax.config.files import nearest
from spanbert_jax.errors import ConfigError, require, require_positive, reworded

SCHEMES: tuple[MaskingScheme, ...] = typing.get_args(MaskingScheme)


def typed_here(message: str) -> str:
    """The flags of --data as `inspect` has them; the shards are named without one.

    typed_here("--data.shards /a: use --data.blocks document") -> "/a: use --blocks document"
    """
    return message.replace("--data.shards ", "").replace("--data.", "--")


@dataclass(frozen=True)
class InspectConfig:
    """Say what a folder of shards holds, or measure and show what a masking scheme hides in it."""

    shards: str = ""
    """Folder written by `spanbert prepare` (local or gs://)."""
    mask: str = ""
    """Masking scheme to measure: geometric_span, uniform_span, whole_word, subword or tagged_span;
    none says what the folder holds."""
    out: str = ""
    """HTML page to write: the figures, and lines of text with their masked spans."""
    json: bool = False
    """Print one JSON object in place of tables."""
    split: Literal["train", "held_out"] = "train"
    """Which documents are masked."""
    blocks: BlockKind = "document"
    """How text is cut into rows, as --data.blocks of `spanbert pretrain`."""
    over_long_sentences: OverLongSentences = "split"
    """What becomes of a sentence longer than a row, as --data.over-long-sentences."""
    sequence_length: int = 512
    """Tokens in a row, [CLS] and [SEP] included."""
    max_boundary_offsets: int = 15
    """Tokens of a span that are targets of the span boundary, from its left end."""
    rows: int = 2_000
    """Rows that are masked and measured: the first ones of the first epoch."""
    texts: int = 6
    """Rows shown on the page."""
    seed: int = 0
    """Of the order of the rows and of their masks, as --training.seed of `spanbert pretrain`."""
    masking: MaskingConfig = field(default_factory=MaskingConfig)
    """As in `spanbert pretrain`; the scheme is --mask."""

    def __post_init__(self) -> None:
        require_positive("--rows", self.rows, "2000")
        require(0 < self.texts <= 100, "--texts", self.texts, "must be in 1 to 100", "use 6")
        require_positive("--max-boundary-offsets", self.max_boundary_offsets, "15")
        with reworded(typed_here):
            # Rows are cut by the rules of pretraining.
            DataConfig(
                sequence_length=self.sequence_length, blocks=self.blocks,
                over_long_sentences=self.over_long_sentences,
            )  # fmt: skip
        require(0 <= self.seed < 2**31, "--seed", self.seed, "must be in [0, 2^31)", "use 0")
        self._check_mask()

    def _check_mask(self) -> None:
        if self.mask not in ("", *SCHEMES):
            close = nearest(self.mask, list(SCHEMES))
            meant = f"the nearest one is {close}; " if close else ""
            raise ConfigError(
                f"--mask {self.mask}: is no masking scheme; {meant}there are {', '.join(SCHEMES)}"
            )
        chosen = self.masking.scheme
        require(
            chosen in (MaskingConfig.scheme, self.mask), "--masking.scheme", chosen,
            "the scheme to inspect is typed by itself", f"use --mask {chosen}",
        )  # fmt: skip
        masks = (
            "belongs to masks, and no scheme is named",
            "name one, such as --mask geometric_span",
        )
        require(bool(self.mask) or not self.out, "--out", self.out, *masks)
        if not self.mask and self.masking != MaskingConfig():
            raise ConfigError(f"--masking: {masks[0]}; {masks[1]}")

    @property
    def resolved_masking(self) -> MaskingConfig:
        """The masking with the scheme of --mask."""
        scheme = next(scheme for scheme in SCHEMES if scheme == self.mask)
        return replace(self.masking, scheme=scheme)

    @property
    def replaced_by_span(self) -> bool:
        """Whether a whole span has one draw between [MASK], random tokens and no change."""
        return self.mask != "subword"

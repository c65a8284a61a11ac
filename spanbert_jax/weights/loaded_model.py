"""A pretrained model at hand, for downstream use. In: texts. Out: hidden states and masks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float32, Int32

from spanbert_jax.config import ComputeConfig, ModelConfig
from spanbert_jax.corpus.tokenizers import Tokenizer
from spanbert_jax.data.task_batches import padded_length
from spanbert_jax.errors import UserError
from spanbert_jax.model.encoders import make_encoder
from spanbert_jax.model.heads import Pooler
from spanbert_jax.model.pretraining import compute_dtype

BATCH_TOKENS = 8_192
"""Tokens of a batch, padding included: enough to fill an accelerator, little memory on a laptop."""


class Encoded(NamedTuple):
    """What a model makes of `texts` texts; rows in the order they were given."""

    token_ids: Int32[np.ndarray, "texts length"]
    """[CLS] text [SEP], then padding up to the longest text."""
    mask: Bool[np.ndarray, "texts length"]
    """True for tokens, False for padding."""
    hidden_states: Float32[np.ndarray, "texts length embed"]
    """Of the last layer; 0 for padding."""
    pooled: Float32[np.ndarray, "texts embed"] | None
    """Of [CLS] by the model's pooler, where it has one."""


@dataclass(frozen=True)
class LoadedModel:
    """Config, parameters and tokenizer of a pretrained model.

    model = spanbert_jax.load("runs/quickstart")
    model.encode(["The capital of France is Paris."]).hidden_states.shape -> (1, 10, 256)
    """

    config: ModelConfig
    params: Any
    """Nested dicts of float32 arrays; layers separate (`layer_0` and on)."""
    tokenizer: Tokenizer
    dtype: Literal["float32", "bfloat16", "auto"] = "float32"
    """Of matrix products: float32, bfloat16, or auto for what the device is good at."""

    def encode(
        self,
        texts: str | Sequence[str],
        *,
        max_length: int | None = None,
        truncate: bool = False,
        batch_tokens: int = BATCH_TOKENS,
    ) -> Encoded:
        """Hidden states of every token of every text.

        Texts of like length share a batch, padded to one of a few lengths, so that little is
        compiled and little is computed for nothing.

        Args:
            texts: one or more; each becomes one row.
            max_length: tokens of a row, [CLS] and [SEP] included; by default what the model has
                positions for.
            truncate: cut longer texts off, in place of an error.
            batch_tokens: tokens of a batch, padding included.

        Raises:
            UserError: a text is longer than `max_length`, or `max_length` than the model allows.
        """
        rows = self._rows([texts] if isinstance(texts, str) else texts, max_length, truncate)
        lengths = np.array([len(row) for row in rows], np.int32)
        longest, size = int(lengths.max(initial=0)), self.config.hidden_size
        token_ids = np.full((len(rows), longest), self.tokenizer.pad_id, np.int32)
        hidden_states = np.zeros((len(rows), longest, size), np.float32)
        pooled = np.zeros((len(rows), size), np.float32) if self.config.pooler else None
        for row, ids in enumerate(rows):
            token_ids[row, : len(ids)] = ids
        batches = _batches(lengths, self.config.max_positions, batch_tokens)
        for chosen, states, of_first in self._computed(rows, batches):
            for i, row_states in zip(chosen, states, strict=True):
                hidden_states[i, : lengths[i]] = row_states[: lengths[i]]
            if pooled is not None:
                pooled[chosen] = of_first
        return Encoded(token_ids, np.arange(longest) < lengths[:, None], hidden_states, pooled)

    def _rows(
        self, texts: Sequence[str], max_length: int | None, truncate: bool
    ) -> list[list[int]]:
        limit = self.config.max_positions if max_length is None else max_length
        if not 2 <= limit <= self.config.max_positions:
            raise UserError(
                f"max_length {limit}: must be from 2 ([CLS] and [SEP]) to the model's "
                f"{self.config.max_positions} positions; use at most that"
            )
        rows = self.tokenizer.encode_batch(list(texts))
        for text, row in zip(texts, rows, strict=True):
            if len(row) > limit - 2 and not truncate:
                raise UserError(
                    f"{text[:60]!r}... has {len(row) + 2} tokens, [CLS] and [SEP] included, and at "
                    f"most {limit} are read at once; split the text, or call with truncate=True"
                )
        cls_id, sep_id = self.tokenizer.cls_id, self.tokenizer.sep_id
        return [[cls_id, *row[: limit - 2], sep_id] for row in rows]

    def _computed(
        self, rows: list[list[int]], batches: Iterator[tuple[np.ndarray, int]]
    ) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Rows of each batch, their hidden and pooled states; the next one computes meanwhile."""
        waiting = None
        for chosen, length in batches:
            started = chosen, self._start([rows[i] for i in chosen], length)
            if waiting is not None:
                yield waiting[0], *jax.device_get(waiting[1])
            waiting = started
        if waiting is not None:
            yield waiting[0], *jax.device_get(waiting[1])

    def _start(self, rows: list[list[int]], length: int) -> tuple[jax.Array, jax.Array]:
        """Hidden states and pooled states of a batch, still being computed."""
        token_ids = np.full((len(rows), length), self.tokenizer.pad_id, np.int32)
        document_ids = np.zeros_like(token_ids)
        for i, row in enumerate(rows):
            token_ids[i, : len(row)], document_ids[i, : len(row)] = row, 1
        return self._forward(self.params, token_ids, document_ids)

    @cached_property
    def _forward(self) -> Any:
        """The compiled encoder: hidden states, and pooled ones or the state of [CLS]."""
        dtype = compute_dtype(ComputeConfig(dtype=self.dtype))
        encoder = make_encoder(self.config, ComputeConfig(), dtype)

        @jax.jit
        def forward(
            params: Any, token_ids: Int32[Array, "rows length"], document_ids: jax.Array
        ) -> tuple[jax.Array, jax.Array]:
            positions = jnp.broadcast_to(jnp.arange(token_ids.shape[1]), token_ids.shape)
            hidden, _ = encoder.apply(
                {"params": params["encoder"]}, token_ids, segment_ids=jnp.zeros_like(token_ids),
                document_ids=document_ids, position_ids=positions, deterministic=True,
            )  # fmt: skip
            pooled = hidden[:, 0]
            if self.config.pooler:
                pooled = Pooler(self.config, dtype).apply({"params": params["pooler"]}, hidden)
            return hidden.astype(jnp.float32), pooled.astype(jnp.float32)

        return forward


def _batches(
    lengths: Int32[np.ndarray, " texts"], max_positions: int, batch_tokens: int
) -> Iterator[tuple[np.ndarray, int]]:
    """Texts of each batch and the length of its rows: longest first, so memory is known early.

    A batch has a power of two of rows, so that few shapes are compiled and no row is for nothing:
    13 texts of one length are batches of 8, 4 and 1.
    """
    padded = np.array([padded_length(int(length), max_positions) for length in lengths], np.int32)
    for length in sorted(set(padded.tolist()), reverse=True):
        chosen = np.flatnonzero(padded == length)
        while len(chosen):
            rows = min(len(chosen), max(1, batch_tokens // length))
            rows = 1 << (rows.bit_length() - 1)
            yield chosen[:rows], length
            chosen = chosen[rows:]

"""Pretraining that begins with somebody's weights. In: a path, the random beginning of a run. Out:
that beginning with every parameter that the path holds.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterable

import jax
from etils import epath

from spanbert_jax.config import ModelConfig
from spanbert_jax.errors import UserError
from spanbert_jax.model.layer_stack import is_stacked, stack_layers, unstack_layers
from spanbert_jax.training.placement import spread
from spanbert_jax.weights.loading import Pretrained, read_pretrained
from spanbert_jax.weights.parameters import Params, flatten, nest

# What fixes the meaning of a parameter; heads may differ, rates of dropout and the like too, and
# the angles of rotary positions, which are changed for longer rows.
_MUST_AGREE = (
    "vocab_size", "hidden_size", "num_layers", "num_heads", "mlp_size", "max_positions",
    "position_offset", "num_segments", "layer_norm_epsilon", "encoder", "global_every",
    "local_attention",
)  # fmt: skip
# The part of a fine-tuned model that has the sizes of its task.
TASK_HEAD = "task_head"
# Of two span-boundary heads.
_BOUNDARY = ("boundary_offset_size", "max_boundary_offsets")


def _must_agree(model: ModelConfig) -> tuple[str, ...]:
    """Rotary positions have no parameters: rows may be longer than those of the weights."""
    is_rotary = model.encoder == "modern"
    return tuple(name for name in _MUST_AGREE if name != "max_positions" or not is_rotary)


def read_start(path: str, *, model: ModelConfig, tokenizer_fingerprint: str) -> Pretrained:
    """Read the weights that `--init-from` names, for a run of `model` on given shards.

    path: as of `loading.load`; a leading `hf:` is allowed.

    Raises:
        UserError: there is no model, or it is of other sizes or of another tokenizer.
    """
    start = read_pretrained(epath.Path(path.removeprefix("hf:")))
    has_boundary = model.span_boundary_head and start.model.span_boundary_head
    fresh = any(path.startswith("span_boundary_head/") for path in start.fresh)
    differing = {
        name: (getattr(start.model, name), getattr(model, name))
        for name in _must_agree(model) + (_BOUNDARY if has_boundary and not fresh else ())
        if getattr(start.model, name) != getattr(model, name)
    }
    if "vocab_size" in differing or start.tokenizer.fingerprint != tokenizer_fingerprint:
        raise UserError(
            f"--init-from {path}: the shards must be made with the tokenizer of these weights "
            f"({start.tokenizer.vocab_size:,} entries, fingerprint "
            f"{start.tokenizer.fingerprint[:12]}), found those of another one "
            f"({tokenizer_fingerprint[:12]}); run `spanbert prepare` with the --tokenizer that "
            "lies beside the weights"
        )
    if differing:
        found = ", ".join(f"{_flag(name)} {value}" for name, (_, value) in differing.items())
        flags = " ".join(f"{_flag(name)} {value}" for name, (value, _) in differing.items())
        raise UserError(
            f"--init-from {path}: the model must be of the sizes of these weights, found {found}; "
            f"add {flags}"
        )
    return start


def with_dropout(start: Pretrained, rate: float | None) -> Pretrained:
    """The same weights with another rate of dropout, everywhere; None leaves theirs."""
    if rate is None:
        return start
    model = dataclasses.replace(start.model, dropout_rate=rate, attention_dropout_rate=rate)
    return start._replace(model=model)


def _flag(field: str) -> str:
    return f"--model.{field.replace('_', '-')}"


def with_start(params: Params, start: Pretrained) -> tuple[Params, str]:
    """The parameters of a run (arrays on its devices), as many as possible out of `start`.

    Returns them and a line that says what became of the rest:
    "weights: 199 of 201 matched; initialised: span_boundary_head (10); unused: pooler (2)"

    The head of another task is taken as a whole or, where its sizes differ, not at all.
    """
    theirs = {path: leaf for path, leaf in flatten(start.params) if path not in start.fresh}
    ours = dict(flatten(unstack_layers(params)))
    matched = [path for path in ours if path in theirs]
    others = {_part(path) for path in matched if ours[path].shape != theirs[path].shape}
    assert others <= {TASK_HEAD}, "of the same sizes, but for the classes of a task"
    matched = [path for path in matched if _part(path) not in others]
    begun = nest(ours | {path: theirs[path] for path in matched})
    if is_stacked(params):
        begun = stack_layers(begun)
    begun = jax.tree.map(lambda new, old: spread(new, old.sharding), begun, params)
    return begun, _summary(matched, ours, theirs)


def _part(path: str) -> str:
    """_part("encoder/layers/norm/bias") -> "encoder"."""
    return path.split("/")[0]


def _summary(matched: list[str], ours: Iterable[str], theirs: Iterable[str]) -> str:
    fresh = [path for path in ours if path not in matched]
    unused = [path for path in theirs if path not in matched]
    parts = [f"weights: {len(matched)} of {len(matched) + len(unused)} matched"]
    for what, paths in (("initialised", fresh), ("unused", unused)):
        heads = Counter(map(_part, paths))
        if heads:
            listed = ", ".join(f"{head} ({number})" for head, number in heads.items())
            parts.append(f"{what}: {listed}")
    return "; ".join(parts)

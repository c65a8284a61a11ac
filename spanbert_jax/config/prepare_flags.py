"""The flags of `spanbert prepare`, as they are typed behind `spanbert pretrain`."""

import dataclasses
import re
from contextlib import AbstractContextManager

from spanbert_jax.config.data import PrepareConfig
from spanbert_jax.config.json import flag_of
from spanbert_jax.errors import reworded

_BEHIND_PRETRAIN = {
    flag_of(field.name): flag_of(f"prepare.{field.name}")
    for field in dataclasses.fields(PrepareConfig)
} | {"--out": "--data.shards"}


def prepare_flags_behind_pretrain() -> AbstractContextManager[None]:
    """A `UserError` from inside names its flags as `spanbert pretrain` knows them."""
    return reworded(behind_pretrain)


def behind_pretrain(message: str) -> str:
    """behind_pretrain("--vocab-size 3: ...") -> "--prepare.vocab-size 3: ..."."""
    return re.sub(
        r"(?<![\w-])--[a-z][a-z-]*(?![\w.])",
        lambda flag: _BEHIND_PRETRAIN.get(flag[0], flag[0]),
        message,
    )

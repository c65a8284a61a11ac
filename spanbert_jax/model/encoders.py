"""Which encoder a config names. In: a config. Out: a module; all are called in one way."""

from typing import Any

import flax.linen as nn

from spanbert_jax.config import ComputeConfig, ModelConfig
from spanbert_jax.model.encoder import Encoder
from spanbert_jax.model.modern_encoder import ModernEncoder

ENCODERS: dict[str, Any] = {"bert": Encoder, "modern": ModernEncoder}


def make_encoder(
    config: ModelConfig, compute: ComputeConfig, dtype: Any, *, name: str | None = None
) -> nn.Module:
    """The encoder of `config.encoder`; name: of its parameters in a larger module."""
    return ENCODERS[config.encoder](config, compute, dtype, name=name)

"""Every value of an experiment, as frozen dataclasses. Standard library only: errors are quick.

Defaults are the values of SpanBERT (Joshi et al. 2019, "sec." in the fields' docstrings). Where the
released code differs from the paper, the code's value is the default, since it made the published
weights, and the paper's is a named config in configs/pretrain.py. A value that follows from others
is a property, never stored.
"""

from spanbert_jax.config.data import (
    BaseScheme,
    BlockKind,
    DataConfig,
    MaskingConfig,
    MaskingScheme,
    OverLongSentences,
    PrepareConfig,
    tokens_of_text,
)
from spanbert_jax.config.distributed import DistributedConfig
from spanbert_jax.config.experiment import PretrainConfig, check_devices
from spanbert_jax.config.finetune import FinetuneConfig, FineTuningConfig
from spanbert_jax.config.model import ComputeConfig, ModelConfig
from spanbert_jax.config.optimizer import FINE_TUNING_OPTIMIZER, OptimizerConfig
from spanbert_jax.config.phases import LengthPhase, RunPhase
from spanbert_jax.config.tasks import TaskConfig
from spanbert_jax.config.training import (
    CheckpointConfig,
    MeshConfig,
    ObjectiveConfig,
    TrainingConfig,
)
from spanbert_jax.config.watching import MetricsConfig, ProfileConfig

__all__ = [
    "FINE_TUNING_OPTIMIZER",
    "BaseScheme",
    "BlockKind",
    "CheckpointConfig",
    "ComputeConfig",
    "DataConfig",
    "DistributedConfig",
    "FineTuningConfig",
    "FinetuneConfig",
    "LengthPhase",
    "MaskingConfig",
    "MaskingScheme",
    "MeshConfig",
    "MetricsConfig",
    "ModelConfig",
    "ObjectiveConfig",
    "OptimizerConfig",
    "OverLongSentences",
    "PrepareConfig",
    "PretrainConfig",
    "ProfileConfig",
    "RunPhase",
    "TaskConfig",
    "TrainingConfig",
    "check_devices",
    "tokens_of_text",
]

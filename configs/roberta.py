"""RoBERTa: an encoder without segments, a byte-level vocabulary, and new masks in every epoch.

The vocabulary is that of a byte-level BPE `tokenizer.json` (`spanbert prepare --tokenizer
tokenizer.json`; published models: 50,265 entries). Blocks are of one document each, where RoBERTa
let them run on into the next.
"""

import dataclasses

from spanbert_jax.config import (
    DataConfig,
    MaskingConfig,
    ModelConfig,
    OptimizerConfig,
    PretrainConfig,
    TrainingConfig,
)


def roberta_base() -> PretrainConfig:
    """RoBERTa-base.

    Paper: Liu et al. 2019 (arXiv 1907.11692), sec. 4 and table 9.
    Expected: MNLI 87.6, QNLI 92.8, SST-2 94.8 (dev; README of the released code).
    Hardware: not published at this size.
    Command: spanbert pretrain configs/roberta.py:roberta_base --data.shards /data/shards
        --workdir /runs/roberta_base
    """
    return PretrainConfig(
        model=ModelConfig(
            num_segments=0, position_offset=2, layer_norm_epsilon=1e-5, span_boundary_head=False
        ),
        masking=MaskingConfig(scheme="subword"),
        data=DataConfig(batch_size=8_192),
        optimizer=OptimizerConfig(
            learning_rate=6e-4, warmup_steps=24_000, beta2=0.98, epsilon=1e-6, max_grad_norm=0.0
        ),
        training=TrainingConfig(num_steps=500_000),
    )


def roberta_large() -> PretrainConfig:
    """RoBERTa-large.

    Paper: Liu et al. 2019, sec. 4 and table 9.
    Expected: SQuAD 1.1 94.6 and SQuAD 2.0 89.4 F1, MNLI 90.2 (dev, sec. 5).
    Hardware: 1,024 V100 for about a day for the first 100,000 steps (sec. 5).
    Command: spanbert pretrain configs/roberta.py:roberta_large --data.shards /data/shards
        --workdir /runs/roberta_large
    """
    base = roberta_base()
    return dataclasses.replace(
        base,
        model=dataclasses.replace(
            base.model, hidden_size=1_024, num_layers=24, num_heads=16, mlp_size=4_096
        ),
        optimizer=dataclasses.replace(
            base.optimizer, learning_rate=4e-4, warmup_steps=30_000
        ),
    )  # fmt: skip

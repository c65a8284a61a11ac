"""The objectives of SpanBERT behind an encoder of today: other blocks, longer rows. Not the paper's
models; those are in pretrain.py.
"""

import dataclasses

from spanbert_jax.config import (
    DataConfig,
    ModelConfig,
    OptimizerConfig,
    PretrainConfig,
    TrainingConfig,
)


def modern_spanbert_base() -> PretrainConfig:
    """Rotary positions, gates, no biases, bands of 128 tokens in two layers of three: 22 layers of
    the width of base, on packed rows of 1,024 tokens.

    Paper: sizes and blocks of ModernBERT-base (Warner et al. 2024, arXiv 2412.13663, sec. 2.1),
        masks and objectives of Joshi et al. 2019. Not theirs, but this project's choice for fewer
        chips: AdamW at a lower rate with SpanBERT's weight decay, in place of StableAdamW; batches
        that do not grow; no dropout behind the attention either.
    Expected: not known; nobody has trained one. ModernBERT-base on 1.7 trillion tokens: GLUE 88.4.
    Hardware: not measured; `spanbert plan` estimates 351 ms a step and 38.0% MFU on v5e-8 with
        --training.num-microbatches 4.
    Command: spanbert pretrain configs/modern.py:modern_spanbert_base --data.shards /data/shards
        --workdir /runs/modern_spanbert_base
    """
    return PretrainConfig(
        model=ModelConfig(
            encoder="modern", num_layers=22, mlp_size=1_152, max_positions=8_192, num_segments=0,
            dropout_rate=0.0, attention_dropout_rate=0.0, layer_norm_epsilon=1e-5,
            global_theta=10_000.0,
        ),
        data=DataConfig(blocks="packed", sequence_length=1_024),
        optimizer=OptimizerConfig(
            name="adamw", learning_rate=3e-4, beta2=0.98, epsilon=1e-6,
            no_decay=("bias", "norm"), schedule="warmup_stable_decay",
        ),
        training=TrainingConfig(num_steps=1_000_000),
    )  # fmt: skip


def modern_spanbert_base_8k() -> PretrainConfig:
    """`modern_spanbert_base` taught to read 8,192 tokens at once: rows as long, and slower angles
    in the layers that see all of them.

    Paper: the second phase of ModernBERT (sec. 2.2.3): base of the angles from 10,000 to 160,000,
        a constant learning rate on longer rows, then decay; steps and batch are this project's
        choice.
    Expected: not known.
    Hardware: not measured; `spanbert plan` estimates it. Layers that see the whole row recompute
        their scores.
    Command: spanbert pretrain configs/modern.py:modern_spanbert_base_8k --data.shards /data/shards
        --workdir /runs/modern_spanbert_base_8k --init-from /runs/modern_spanbert_base
    """
    base = modern_spanbert_base()
    return dataclasses.replace(
        base,
        model=dataclasses.replace(base.model, global_theta=160_000.0),
        data=dataclasses.replace(base.data, sequence_length=8_192, batch_size=32),
        optimizer=dataclasses.replace(base.optimizer, warmup_steps=1_000),
        training=dataclasses.replace(base.training, num_steps=100_000),
    )

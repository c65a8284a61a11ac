"""A small SpanBERT on real text, for a laptop: the whole road in about five minutes."""

from spanbert_jax.config import (
    CheckpointConfig,
    DataConfig,
    ModelConfig,
    OptimizerConfig,
    PrepareConfig,
    PretrainConfig,
    TrainingConfig,
)

# 106 articles of the English Wikipedia, in the test data of the PyPI package gensim.
WIKIPEDIA = (
    "wikipedia:package://gensim/test/test_data/"
    "enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2"
)


def quickstart() -> PretrainConfig:
    """Pretrain 2 layers of width 256 with geometric spans and the span-boundary objective.

    Paper: Joshi et al. 2019, sec. 3, at a fiftieth of the size; 2.7 MB of text, read twice. Smaller
        batches, a higher rate and a shorter memory of the moments suit so short a run.
    Expected: held-out losses of both objectives fall from 8.3 to about 6.4 nats; the text is far
        too short for good guesses.
    Hardware: 2 CPU cores, about five minutes after installation.
    Command: spanbert pretrain configs/quickstart.py
    """
    return PretrainConfig(
        workdir="runs/quickstart",
        model=ModelConfig(
            hidden_size=256, num_layers=2, num_heads=4, mlp_size=1_024, max_positions=128
        ),
        data=DataConfig(shards="runs/quickstart/shards", sequence_length=128, batch_size=16),
        optimizer=OptimizerConfig(
            name="adamw", learning_rate=1e-3, warmup_steps=50, beta2=0.98, epsilon=1e-6,
            no_decay=("bias", "norm"),
        ),
        training=TrainingConfig(num_steps=600, log_every=20, eval_every=200, eval_batches=16),
        checkpoint=CheckpointConfig(every_steps=200),
        prepare=PrepareConfig(source=(WIKIPEDIA,), vocab_size=4_000, held_out=0.1),
        fill=("The capital of France is [MASK] [MASK] .",),
    )  # fmt: skip

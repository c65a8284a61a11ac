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
    """Pretrain 4 layers of width 256 with geometric spans and the span-boundary objective.

    Paper: Joshi et al. 2019, sec. 3, at a hundredth of the size; 2.7 MB of text, read several
        times over.
    Expected: held-out losses of both objectives fall; the text is far too short for good guesses.
    Hardware: 2 CPU cores, about five minutes after installation.
    Command: spanbert pretrain configs/quickstart.py
    """
    return PretrainConfig(
        workdir="runs/quickstart",
        model=ModelConfig(
            hidden_size=256, num_layers=4, num_heads=4, mlp_size=1_024, max_positions=128
        ),
        data=DataConfig(shards="runs/quickstart/shards", sequence_length=128, batch_size=32),
        optimizer=OptimizerConfig(learning_rate=5e-4, warmup_steps=50),
        training=TrainingConfig(num_steps=500, log_every=10, eval_every=100, eval_batches=8),
        checkpoint=CheckpointConfig(every_steps=100),
        prepare=PrepareConfig(source=(WIKIPEDIA,), vocab_size=4_000, held_out=0.1),
        fill=("The capital of France is [MASK] [MASK] .",),
    )

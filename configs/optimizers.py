"""SpanBERT-base by other optimizers, schedules and batches: the same model, data, masks and number
of sequences as `spanbert_base`, each with the settings of its source. None was trained at this
size; compare them on your text at a small size first (`configs/quickstart.py`, `--optimizer.name`).
"""

import dataclasses

from pretrain import spanbert_base

from spanbert_jax.config import (
    CheckpointConfig,
    LengthPhase,
    OptimizerConfig,
    PretrainConfig,
)

NUM_SEQUENCES = 2_400_000 * 256
"""That SpanBERT was trained on (sec. 4.2)."""


def spanbert_base_adamw() -> PretrainConfig:
    """AdamW as it is written today: bias-corrected, beta2 0.98, epsilon 1e-6, no decay of biases
    and norms.

    Paper: Loshchilov and Hutter 2019 (arXiv 1711.05101), algorithm 2; the values of RoBERTa (Liu et
        al. 2019, table 9) with SpanBERT's rate and batch.
    Expected: not published.
    Hardware: as `spanbert_base`.
    Command: spanbert pretrain configs/optimizers.py:spanbert_base_adamw --data.shards /data/shards
        --workdir /runs/spanbert_base_adamw
    """
    return _with(OptimizerConfig(name="adamw", beta2=0.98, epsilon=1e-6, no_decay=("bias", "norm")))


def spanbert_base_lamb() -> PretrainConfig:
    """LAMB on batches of 8,192 rows: many chips, few steps.

    Paper: You et al. 2020 (arXiv 1904.00962), table 4: the rate 5e-3 / 2 at 8K rows, a
        warmup of a twentieth; epsilon and decay of their code.
    Expected: not published for SpanBERT. For BERT-large the same SQuAD F1 as batches of 512.
    Hardware: as `spanbert_base`, over up to 8,192 chips.
    Command: spanbert pretrain configs/optimizers.py:spanbert_base_lamb --data.shards /data/shards
        --workdir /runs/spanbert_base_lamb
    """
    optimizer = OptimizerConfig(
        name="lamb", learning_rate=2.5e-3, warmup_steps=0, warmup_fraction=0.05, epsilon=1e-6,
        no_decay=("bias", "norm"),
    )  # fmt: skip
    base = _with(optimizer)
    batch_size = 8_192
    return dataclasses.replace(
        base,
        data=dataclasses.replace(base.data, batch_size=batch_size),
        training=dataclasses.replace(base.training, num_steps=NUM_SEQUENCES // batch_size),
    )


def spanbert_base_adafactor() -> PretrainConfig:
    """Adafactor: of the memory of Adam's state a few rows and columns are left.

    Paper: Shazeer and Stern 2018 (arXiv 1804.04235), algorithm 4 and sec. 9: steps of a hundredth
        of each tensor's size at the peak, no first moment. Warmup and decay are SpanBERT's.
    Expected: not published for SpanBERT.
    Hardware: as `spanbert_base`.
    Command: spanbert pretrain configs/optimizers.py:spanbert_base_adafactor
        --data.shards /data/shards --workdir /runs/spanbert_base_adafactor
    """
    return _with(OptimizerConfig(name="adafactor", learning_rate=1e-2, weight_decay=0.0))


def spanbert_base_lion() -> PretrainConfig:
    """Lion: the sign of the moment, half of the memory of Adam's.

    Paper: Chen et al. 2023 (arXiv 2302.06675), sec. 5: a rate 3 to 10 times smaller than AdamW's, a
        decay as many times larger; here 5, of `spanbert_base`.
    Expected: not published for SpanBERT.
    Hardware: as `spanbert_base`.
    Command: spanbert pretrain configs/optimizers.py:spanbert_base_lion --data.shards /data/shards
        --workdir /runs/spanbert_base_lion
    """
    return _with(OptimizerConfig(name="lion", learning_rate=2e-5, beta2=0.99, weight_decay=0.05))


def spanbert_base_muon() -> PretrainConfig:
    """Muon for matrices, AdamW for embeddings and vectors, at one learning rate.

    Paper: Jordan 2024 (kellerjordan.github.io/posts/muon) with the scale and decay of Liu et al.
        2025 (arXiv 2502.16982), sec. 2.2: updates as large as AdamW's, decay 0.1.
    Expected: not published for SpanBERT.
    Hardware: as `spanbert_base`; its five matrix iterations are not in the FLOPs that MFU counts.
    Command: spanbert pretrain configs/optimizers.py:spanbert_base_muon --data.shards /data/shards
        --workdir /runs/spanbert_base_muon
    """
    return _with(OptimizerConfig(name="muon", weight_decay=0.1, no_decay=("bias", "norm")))


def spanbert_base_wsd() -> PretrainConfig:
    """A plateau of the learning rate: a run that can be made longer from a checkpoint before its
    last tenth, and be compared at any length. Of every tenth a checkpoint is kept: move those
    behind it away, and go on with more --training.num-steps.

    Paper: Hu et al. 2024 (arXiv 2404.06395, MiniCPM), sec. 4: warmup, stable, decay; the decay of a
        tenth, here a line.
    Expected: not published for SpanBERT.
    Hardware: as `spanbert_base`.
    Command: spanbert pretrain configs/optimizers.py:spanbert_base_wsd --data.shards /data/shards
        --workdir /runs/spanbert_base_wsd
    """
    base = _with(OptimizerConfig(schedule="warmup_stable_decay"))
    return dataclasses.replace(base, checkpoint=CheckpointConfig(keep_every_steps=240_000))


def spanbert_base_batch_warmup() -> PretrainConfig:
    """Batches that grow, 64, 128, then 256 rows: early gradients agree, and need not be averaged
    over many rows.

    Paper: McCandlish et al. 2018 (arXiv 1812.06162), sec. 2.2, why; Brown et al. 2020 (arXiv
        2005.14165, GPT-3), appendix B, that batches grow at first; the steps here are this
        project's choice, 25,000 more than those of `spanbert_base` for as many sequences.
    Expected: not published for SpanBERT.
    Hardware: as `spanbert_base`.
    Command: spanbert pretrain configs/optimizers.py:spanbert_base_batch_warmup
        --data.shards /data/shards --workdir /runs/spanbert_base_batch_warmup
    """
    base = spanbert_base()
    phases = (
        LengthPhase(20_000, sequence_length=512, batch_size=64),
        LengthPhase(20_000, sequence_length=512, batch_size=128),
    )
    return dataclasses.replace(
        base,
        data=dataclasses.replace(base.data, phases=phases),
        training=dataclasses.replace(base.training, num_steps=2_425_000),
    )


def _with(optimizer: OptimizerConfig) -> PretrainConfig:
    return dataclasses.replace(spanbert_base(), optimizer=optimizer)

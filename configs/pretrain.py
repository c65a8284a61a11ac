"""The published models. A variant is `dataclasses.replace` of another; the defaults of the
dataclasses are SpanBERT-base as its released command trained it.

The vocabulary has the size of the tokenizer that prepared the shards; the published models use the
28,996 cased WordPieces of BERT (`spanbert prepare --tokenizer vocab.txt`).
"""

import dataclasses
from typing import Literal

from spanbert_jax.config import (
    ComputeConfig,
    LengthPhase,
    MeshConfig,
    ObjectiveConfig,
    PretrainConfig,
)


def spanbert_base() -> PretrainConfig:
    """SpanBERT-base: geometric spans and the span-boundary objective on single sequences.

    Paper: Joshi et al. 2019 (arXiv 1907.10529), sec. 3 and 4.2, as the released code reads it:
        weight decay 0.01, each loss over the number of its own targets.
    Expected: SQuAD 1.1 92.4 and SQuAD 2.0 83.6 F1 (dev), OntoNotes coreference 77.4 F1, TACRED
        68.2 F1 (README of the released code; one run, no spread given).
    Hardware: not published. By size about a third of `spanbert_large`.
    Command: spanbert pretrain configs/pretrain.py:spanbert_base --data.shards /data/shards
        --workdir /runs/spanbert_base
    """
    return PretrainConfig()


def spanbert_large() -> PretrainConfig:
    """SpanBERT-large: as base, at the size of BERT-large.

    Paper: Joshi et al. 2019, sec. 3 and 4.2, as the released code reads it.
    Expected: SQuAD 1.1 94.6 and SQuAD 2.0 88.7 F1 (test), OntoNotes coreference 79.6 F1, TACRED
        70.8 F1, GLUE 82.8 (sec. 5.1; the best of a grid, no spread given).
    Hardware: 32 V100 for 15 days (sec. 4.2), 11,520 V100-hours at 12% of their peak. Reckoned, not
        measured: 7.7 hours on 256 TPU v5e chips, 31 on 64, at 45% of theirs.
    Command: spanbert pretrain configs/pretrain.py:spanbert_large --data.shards /data/shards
        --workdir /runs/spanbert_large
    """
    base = spanbert_base()
    return dataclasses.replace(
        base,
        model=dataclasses.replace(
            base.model, hidden_size=1_024, num_layers=24, num_heads=16, mlp_size=4_096
        ),
    )


def spanbert_base_fast() -> PretrainConfig:
    """SpanBERT-base without dropout in attention: a hash for each pair of tokens less.

    Paper: none; `spanbert_base` but for attention_dropout_rate 0. Hidden states are dropped as
        before, and every text is masked anew each time that it is read.
    Expected: not known at this size; a run on your text shows it in its first steps.
    Hardware: not measured; `spanbert plan` estimates it.
    Command: spanbert pretrain configs/pretrain.py:spanbert_base_fast --data.shards /data/shards
        --workdir /runs/spanbert_base_fast
    """
    return _fast(spanbert_base())


def spanbert_large_fast() -> PretrainConfig:
    """SpanBERT-large without dropout in attention; see `spanbert_base_fast`.

    Paper: none; `spanbert_large` but for attention_dropout_rate 0.
    Expected: not known.
    Hardware: not measured; `spanbert plan` estimates it.
    Command: spanbert pretrain configs/pretrain.py:spanbert_large_fast --data.shards /data/shards
        --workdir /runs/spanbert_large_fast
    """
    return _fast(spanbert_large())


def spanbert_xl() -> PretrainConfig:
    """SpanBERT at 1.3 billion parameters: heads of 128, which fill a matrix unit, parameters and
    moments in pieces on every chip.

    Paper: none; data, masks, objectives and optimizer of `spanbert_large`, four times its width
        squared. Half its learning rate, since larger models bear less.
    Expected: not known; nobody has trained one.
    Hardware: 16 GB of parameters and moments in float32: a chip of 16 GB needs them in at least 8
        pieces, here in as many as there are chips.
    Command: spanbert pretrain configs/pretrain.py:spanbert_xl --data.shards /data/shards
        --workdir /runs/spanbert_xl
    """
    large = spanbert_large()
    return dataclasses.replace(
        large,
        model=dataclasses.replace(large.model, hidden_size=2_048, num_heads=16, mlp_size=8_192),
        optimizer=dataclasses.replace(large.optimizer, learning_rate=5e-5),
        mesh=MeshConfig(data=1, fsdp=-1),
        compute=ComputeConfig(scan_layers=True, remat="dots"),
    )


def bert_base() -> PretrainConfig:
    """BERT-base: single masked tokens and next-sentence prediction on pairs of segments.

    Paper: the baseline "Our BERT" (Joshi et al. 2019, sec. 4.1) at base size: the data, steps and
        optimizer of SpanBERT, the objectives of Devlin et al. 2019.
    Expected: not published at this size. Google's BERT-base: SQuAD 1.1 88.5 and SQuAD 2.0 76.5 F1
        (dev), coreference 73.1 F1, TACRED 67.7 F1 (README of the released code).
    Hardware: as `spanbert_base`, less the span-boundary head.
    Command: spanbert pretrain configs/pretrain.py:bert_base --data.shards /data/shards
        --workdir /runs/bert_base
    """
    return _bert(spanbert_base())


def bert_large() -> PretrainConfig:
    """BERT-large: as base, at the size of `spanbert_large`.

    Paper: the baseline "Our BERT" (Joshi et al. 2019, sec. 4.1).
    Expected: SQuAD 1.1 92.6 and SQuAD 2.0 85.9 F1 (test), OntoNotes coreference 78.3 F1, TACRED
        67.5 F1, GLUE 81.1 (sec. 5.1; the best of a grid, no spread given).
    Hardware: as `spanbert_large`: 32 V100 for 15 days.
    Command: spanbert pretrain configs/pretrain.py:bert_large --data.shards /data/shards
        --workdir /runs/bert_large
    """
    return _bert(spanbert_large())


def bert_base_1seq() -> PretrainConfig:
    """BERT-base on single sequences: single masked tokens, the masked language model alone.

    Paper: the baseline "Our BERT-1seq" (Joshi et al. 2019, sec. 4.1) at base size: only masks and
        objective differ from SpanBERT.
    Expected: not published at this size; at large size SQuAD 1.1 93.3 and SQuAD 2.0 86.6 F1.
    Hardware: as `spanbert_base`, less the span-boundary head.
    Command: spanbert pretrain configs/pretrain.py:bert_base_1seq --data.shards /data/shards
        --workdir /runs/bert_base_1seq
    """
    base = spanbert_base()
    return dataclasses.replace(
        base,
        model=dataclasses.replace(base.model, span_boundary_head=False),
        masking=dataclasses.replace(base.masking, scheme="subword"),
    )


def bert_base_two_phases() -> PretrainConfig:
    """BERT-base on the schedule of its authors: nine tenths of the steps on rows of 128 tokens, the
    rest on rows of 512; a third of the computation of as many steps on rows of 512.

    Paper: Devlin et al. 2019 (arXiv 1810.04805), appendix A.2: a million steps of 256 rows. All
        else is that of `bert_base`. SpanBERT and its baselines do without short rows (sec. 4.2).
    Expected: Google's BERT-base: SQuAD 1.1 88.5 and SQuAD 2.0 76.5 F1 (dev), coreference 73.1 F1,
        TACRED 67.7 F1 (README of the released code).
    Hardware: 16 TPU chips for 4 days (appendix A.2).
    Command: spanbert pretrain configs/pretrain.py:bert_base_two_phases --data.shards /data/shards
        --workdir /runs/bert_base_two_phases
    """
    base = bert_base()
    return dataclasses.replace(
        base,
        data=dataclasses.replace(base.data, phases=(LengthPhase(900_000, sequence_length=128),)),
        training=dataclasses.replace(base.training, num_steps=1_000_000),
    )


def spanbert_base_paper() -> PretrainConfig:
    """SpanBERT-base as the paper words it: spans begin at uniformly drawn words, weight decay 0.1,
    losses summed per masked token.

    Paper: Joshi et al. 2019, sec. 3.1 (spans), 4.2 (weight decay) and 3.2 (sum of objectives).
        The published weights come from the released command: see `spanbert_base`.
    Expected: not published; `spanbert_base` is the one to compare with.
    Hardware: as `spanbert_base`.
    Command: spanbert pretrain configs/pretrain.py:spanbert_base_paper --data.shards /data/shards
        --workdir /runs/spanbert_base_paper
    """
    return worded_by_paper(spanbert_base())


def spanbert_large_paper() -> PretrainConfig:
    """SpanBERT-large as the paper words it: spans begin at uniformly drawn words, weight decay 0.1,
    losses summed per masked token.

    Paper: Joshi et al. 2019, sec. 3.1, 3.2 and 4.2; see `spanbert_base_paper`.
    Expected: not published; `spanbert_large` is the one to compare with.
    Hardware: as `spanbert_large`.
    Command: spanbert pretrain configs/pretrain.py:spanbert_large_paper --data.shards /data/shards
        --workdir /runs/spanbert_large_paper
    """
    return worded_by_paper(spanbert_large())


def _fast(config: PretrainConfig) -> PretrainConfig:
    model = dataclasses.replace(config.model, attention_dropout_rate=0.0)
    return dataclasses.replace(config, model=model)


def _bert(spanbert: PretrainConfig) -> PretrainConfig:
    """BERT on the data and steps of a SpanBERT of its size."""
    model = dataclasses.replace(
        spanbert.model, span_boundary_head=False, pooler=True, next_sentence_head=True
    )
    return dataclasses.replace(
        spanbert,
        model=model,
        masking=dataclasses.replace(spanbert.masking, scheme="subword"),
        data=dataclasses.replace(spanbert.data, blocks="sentence_pair"),
    )


def worded_by_paper(config: PretrainConfig) -> PretrainConfig:
    """`config` with what the paper says where the released code does something else."""
    masking = config.masking
    if masking.scheme == "tagged_span":
        masking = dataclasses.replace(masking, base_scheme="whole_word")
    anchor: Literal["subword", "word"] = "word" if masking.scheme != "subword" else "subword"
    return dataclasses.replace(
        config,
        masking=dataclasses.replace(masking, anchor=anchor),
        optimizer=dataclasses.replace(config.optimizer, weight_decay=0.1),
        objective=ObjectiveConfig(loss_normalization="paper"),
    )

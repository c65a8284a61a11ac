"""The paper's two ablation tables (sec. 6), as a family: each differs from the next in one thing.

All are of the size of BERT-large on the data and steps of SpanBERT; the tables show the checkpoint
of step 1,200,000, which these configs keep. Table 6 compares masking schemes on sentence pairs with
next-sentence prediction, table 7 what is trained beside the masked language model, with geometric
spans. The masks of named entities and noun phrases need shards with annotated spans: `spanbert
prepare --tag`.

Each is the reading of the released code; `NAME_paper` is the paper's wording of the same.
"""

import dataclasses

from pretrain import bert_large, spanbert_large, worded_by_paper

from spanbert_jax.config import CheckpointConfig, MaskingScheme, PretrainConfig

SHOWN_IN_TABLES = CheckpointConfig(keep_every_steps=1_200_000)


def masking_subword() -> PretrainConfig:
    """What BERT masks: single tokens.

    Paper: table 6, "Subword tokens".
    Expected: SQuAD 2.0 83.8 F1, NewsQA 72.0, TriviaQA 76.3, coreference 77.7, MNLI-m 86.7, QNLI
        92.5, GLUE average 83.2 (dev, step 1.2M).
    Hardware: as `spanbert_large`: 32 V100 for 15 days.
    Command: spanbert pretrain configs/ablations.py:masking_subword --data.shards /data/shards
        --workdir /runs/masking_subword
    """
    return _sentence_pairs("subword")


def masking_whole_word() -> PretrainConfig:
    """Whole words.

    Paper: table 6, "Whole words".
    Expected: SQuAD 2.0 84.3 F1, NewsQA 72.8, TriviaQA 77.1, coreference 76.6, MNLI-m 86.3, QNLI
        92.8, GLUE average 82.9 (dev, step 1.2M).
    Hardware: as `spanbert_large`.
    Command: spanbert pretrain configs/ablations.py:masking_whole_word --data.shards /data/shards
        --workdir /runs/masking_whole_word
    """
    return _sentence_pairs("whole_word")


def masking_named_entities() -> PretrainConfig:
    """Half of the masks are named entities, the others geometric spans, as in the released code.

    Paper: table 6, "Named entities".
    Expected: SQuAD 2.0 84.8 F1, NewsQA 72.7, TriviaQA 78.7, coreference 75.6, MNLI-m 86.0, QNLI
        93.1, GLUE average 83.2 (dev, step 1.2M).
    Hardware: as `spanbert_large`.
    Command: spanbert pretrain configs/ablations.py:masking_named_entities
        --data.shards /data/shards --workdir /runs/masking_named_entities
        (shards of `spanbert prepare --tag spacy:ents`)
    """
    return _sentence_pairs("tagged_span")


def masking_noun_phrases() -> PretrainConfig:
    """The same masks as `masking_named_entities`, on shards whose noun phrases are annotated.

    Paper: table 6, "Noun phrases".
    Expected: SQuAD 2.0 85.0 F1, NewsQA 73.0, TriviaQA 77.7, coreference 76.7, MNLI-m 86.5, QNLI
        93.2, GLUE average 83.5 (dev, step 1.2M).
    Hardware: as `spanbert_large`.
    Command: spanbert pretrain configs/ablations.py:masking_noun_phrases
        --data.shards /data/shards --workdir /runs/masking_noun_phrases
        (shards of `spanbert prepare --tag spacy:noun_chunks`)
    """
    return _sentence_pairs("tagged_span")


def masking_geometric_span() -> PretrainConfig:
    """What SpanBERT masks.

    Paper: table 6, "Geometric spans"; also the first row of table 7.
    Expected: SQuAD 2.0 85.4 F1, NewsQA 73.0, TriviaQA 78.8, coreference 76.4, MNLI-m 87.0, QNLI
        93.3, GLUE average 83.4 (dev, step 1.2M).
    Hardware: as `spanbert_large`.
    Command: spanbert pretrain configs/ablations.py:masking_geometric_span
        --data.shards /data/shards --workdir /runs/masking_geometric_span
    """
    return _sentence_pairs("geometric_span")


def objective_two_segments_nsp() -> PretrainConfig:
    """`masking_geometric_span` by its other name.

    Paper: table 7, "Span masking (2seq) + NSP".
    Expected: as `masking_geometric_span`.
    Hardware: as `spanbert_large`.
    Command: spanbert pretrain configs/ablations.py:objective_two_segments_nsp
        --data.shards /data/shards --workdir /runs/two_segments_nsp
    """
    return masking_geometric_span()


def objective_one_segment() -> PretrainConfig:
    """Single sequences, the masked language model alone.

    Paper: table 7, "Span masking (1seq)".
    Expected: SQuAD 2.0 86.7 F1, NewsQA 73.4, TriviaQA 80.0, coreference 76.3, MNLI-m 87.3, QNLI
        93.8, GLUE average 83.8 (dev, step 1.2M).
    Hardware: as `spanbert_large`.
    Command: spanbert pretrain configs/ablations.py:objective_one_segment
        --data.shards /data/shards --workdir /runs/one_segment
    """
    base = objective_one_segment_sbo()
    return dataclasses.replace(
        base, model=dataclasses.replace(base.model, span_boundary_head=False)
    )


def objective_one_segment_sbo() -> PretrainConfig:
    """SpanBERT itself.

    Paper: table 7, "Span masking (1seq) + SBO".
    Expected: SQuAD 2.0 86.8 F1, NewsQA 74.1, TriviaQA 80.3, coreference 79.0, MNLI-m 87.6, QNLI
        93.9, GLUE average 84.0 (dev, step 1.2M).
    Hardware: as `spanbert_large`.
    Command: spanbert pretrain configs/ablations.py:objective_one_segment_sbo
        --data.shards /data/shards --workdir /runs/one_segment_sbo
    """
    return dataclasses.replace(spanbert_large(), checkpoint=SHOWN_IN_TABLES)


def masking_subword_paper() -> PretrainConfig:
    """`masking_subword` as the paper words it.

    Paper: Table 6, "Subword tokens"; wording of sec. 3.1, 3.2 and 4.2.
    Expected: not published; `masking_subword` is the one to compare with.
    Hardware: as `spanbert_large`.
    Command: spanbert pretrain configs/ablations.py:masking_subword_paper
        --data.shards /data/shards --workdir /runs/masking_subword_paper
    """
    return worded_by_paper(masking_subword())


def masking_whole_word_paper() -> PretrainConfig:
    """`masking_whole_word` as the paper words it.

    Paper: Table 6, "Whole words"; wording of sec. 3.1, 3.2 and 4.2.
    Expected: not published; `masking_whole_word` is the one to compare with.
    Hardware: as `spanbert_large`.
    Command: spanbert pretrain configs/ablations.py:masking_whole_word_paper
        --data.shards /data/shards --workdir /runs/masking_whole_word_paper
    """
    return worded_by_paper(masking_whole_word())


def masking_named_entities_paper() -> PretrainConfig:
    """`masking_named_entities` as the paper words it: the other half of the masks are whole words.

    Paper: Table 6, "Named entities"; wording of sec. 3.1, 3.2, 4.2 and 6.1.
    Expected: not published; `masking_named_entities` is the one to compare with.
    Hardware: as `spanbert_large`.
    Command: spanbert pretrain configs/ablations.py:masking_named_entities_paper
        --data.shards /data/shards --workdir /runs/masking_named_entities_paper
    """
    return worded_by_paper(masking_named_entities())


def masking_noun_phrases_paper() -> PretrainConfig:
    """`masking_noun_phrases` as the paper words it: the other half of the masks are whole words.

    Paper: Table 6, "Noun phrases"; wording of sec. 3.1, 3.2, 4.2 and 6.1.
    Expected: not published; `masking_noun_phrases` is the one to compare with.
    Hardware: as `spanbert_large`.
    Command: spanbert pretrain configs/ablations.py:masking_noun_phrases_paper
        --data.shards /data/shards --workdir /runs/masking_noun_phrases_paper
    """
    return worded_by_paper(masking_noun_phrases())


def masking_geometric_span_paper() -> PretrainConfig:
    """`masking_geometric_span` as the paper words it.

    Paper: Table 6, "Geometric spans"; wording of sec. 3.1, 3.2 and 4.2.
    Expected: not published; `masking_geometric_span` is the one to compare with.
    Hardware: as `spanbert_large`.
    Command: spanbert pretrain configs/ablations.py:masking_geometric_span_paper
        --data.shards /data/shards --workdir /runs/masking_geometric_span_paper
    """
    return worded_by_paper(masking_geometric_span())


def objective_two_segments_nsp_paper() -> PretrainConfig:
    """`objective_two_segments_nsp` as the paper words it.

    Paper: Table 7, "Span masking (2seq) + NSP"; wording of sec. 3.1, 3.2 and 4.2.
    Expected: not published; `objective_two_segments_nsp` is the one to compare with.
    Hardware: as `spanbert_large`.
    Command: spanbert pretrain configs/ablations.py:objective_two_segments_nsp_paper
        --data.shards /data/shards --workdir /runs/objective_two_segments_nsp_paper
    """
    return worded_by_paper(objective_two_segments_nsp())


def objective_one_segment_paper() -> PretrainConfig:
    """`objective_one_segment` as the paper words it.

    Paper: Table 7, "Span masking (1seq)"; wording of sec. 3.1, 3.2 and 4.2.
    Expected: not published; `objective_one_segment` is the one to compare with.
    Hardware: as `spanbert_large`.
    Command: spanbert pretrain configs/ablations.py:objective_one_segment_paper
        --data.shards /data/shards --workdir /runs/objective_one_segment_paper
    """
    return worded_by_paper(objective_one_segment())


def objective_one_segment_sbo_paper() -> PretrainConfig:
    """`objective_one_segment_sbo` as the paper words it.

    Paper: Table 7, "Span masking (1seq) + SBO"; wording of sec. 3.1, 3.2 and 4.2.
    Expected: not published; `objective_one_segment_sbo` is the one to compare with.
    Hardware: as `spanbert_large`.
    Command: spanbert pretrain configs/ablations.py:objective_one_segment_sbo_paper
        --data.shards /data/shards --workdir /runs/objective_one_segment_sbo_paper
    """
    return worded_by_paper(objective_one_segment_sbo())


def _sentence_pairs(scheme: MaskingScheme) -> PretrainConfig:
    bert = bert_large()
    masking = dataclasses.replace(bert.masking, scheme=scheme)
    return dataclasses.replace(bert, masking=masking, checkpoint=SHOWN_IN_TABLES)

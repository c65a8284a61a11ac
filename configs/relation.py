"""Relation extraction: which relation holds between two entities of a sentence.

Rows of 128 tokens and 10 epochs are the paper's (appendix B); learning rate 2e-5 and batches of 32
are one cell of its grid, which `--grid paper` runs whole.
"""

from spanbert_jax.config import FINE_TUNING_OPTIMIZER, FinetuneConfig, FineTuningConfig
from spanbert_jax.config.tasks import RelationConfig, SemEvalConfig, TacredConfig


def tacred() -> FinetuneConfig:
    """TACRED: 41 relations and none at all, between typed entities.

    Paper: Joshi et al. 2019, sec. 4.1 and 5.1, as the released script: entities are replaced by
        markers of their role and type.
    Expected: 70.8 F1 (test) from SpanBERT-large, 68.2 from base (README of the released code), the
        best of a grid, one run, no spread given.
    Hardware: not published. 68,124 training sentences: 21,290 steps of 32 rows of 128 tokens.
    Command: spanbert finetune configs/relation.py:tacred --init-from /models/spanbert-base-cased
        --task.train train.json --task.dev dev.json --workdir /runs/tacred
    """
    return _experiment(TacredConfig())


def semeval2010_task8() -> FinetuneConfig:
    """SemEval-2010 Task 8: nine relations between nominals, in both directions, and Other.

    Paper: Hendrickx et al. 2010; not a benchmark of SpanBERT's. Entities keep their words, markers
        stand around them, as Baldini Soares et al. 2019 (arXiv 1906.03158) found best.
    Expected: 89.2 macro F1 (test) from BERT-large with such markers (Baldini Soares et al.
        2019), 89.25 from R-BERT (Wu and He 2019, arXiv 1905.08284), both of which read the states
        of the entities too; no spread given.
    Hardware: not published. 8,000 training sentences: 2,500 steps of 32 rows, mostly under 64
        tokens.
    Command: spanbert finetune configs/relation.py:semeval2010_task8 --init-from /models/bert
        --task.train TRAIN_FILE.TXT --task.dev dev.txt --workdir /runs/semeval
    """
    return _experiment(SemEvalConfig())


def redocred() -> FinetuneConfig:
    """Re-DocRED's sentences in the JSON form of TACRED: 96 relations of Wikidata, and none.

    Paper: Tan et al. 2022 (arXiv 2205.12696) publish documents; single sentences of them in this
        form have no published score. Relations that only dev has are counted as mistakes.
    Expected: none published; for a comparison of encoders.
    Hardware: not published. 9,000 sentences: 2,800 steps of 32 rows of at most 128 tokens.
    Command: spanbert finetune configs/relation.py:redocred --init-from /models/spanbert-base-cased
        --task.train train.json --task.dev dev.json --workdir /runs/redocred
    """
    return _experiment(TacredConfig(unseen_relations="count_wrong"))


def _experiment(task: RelationConfig) -> FinetuneConfig:
    return FinetuneConfig(
        task=task, optimizer=FINE_TUNING_OPTIMIZER, training=FineTuningConfig(num_epochs=10.0)
    )

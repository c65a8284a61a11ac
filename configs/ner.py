"""Named entities: by a tag for each word (`_bio`), or by a class for each span of words (`_spans`).

SpanBERT was not tried on this task. Learning rate 5e-5 and 10 epochs are of its grids (appendix B):
the sets are small.
"""

import dataclasses

from spanbert_jax.config import FINE_TUNING_OPTIMIZER, FinetuneConfig, FineTuningConfig
from spanbert_jax.config.tasks import TaggingConfig


def conll_bio() -> FinetuneConfig:
    """Any file of columns (word, ..., tag) as CoNLL-2003, or of JSON lines; a tag for each word.

    Paper: Devlin et al. 2019, sec. 5.3: the state of the first piece of each word, no CRF.
    Expected: on CoNLL-2003 92.4 F1 (test) from BERT-base, 92.8 from large (their table 7; mean of
        five runs, with the context of whole documents, which rows of one sentence lack).
    Hardware: not published. 14,041 training sentences: 4,390 steps of 32 rows, most of less than 64
        tokens.
    Command: spanbert finetune configs/ner.py:conll_bio --init-from /models/spanbert-base-cased
        --task.train train.txt --task.dev dev.txt --workdir /runs/conll
    """
    return _experiment(TaggingConfig())


def conll_spans() -> FinetuneConfig:
    """As `conll_bio`, by spans of at most ten words.

    Paper: the scores of spans by their ends and width are those of Lee et al. 2017, as SpanBERT's
        coreference (sec. 4.1) has them; Eberts and Ulges 2020 (arXiv 1909.07755) found entities so.
    Expected: none published for this head; compare with `conll_bio`.
    Hardware: as `conll_bio`.
    Command: spanbert finetune configs/ner.py:conll_spans --init-from /models/spanbert-base-cased
        --task.train train.txt --task.dev dev.txt --workdir /runs/conll_spans
    """
    return _with_spans(conll_bio())


def wnut17_bio() -> FinetuneConfig:
    """WNUT-17: new and rare entities of six types in noisy text; a tag for each word.

    Paper: Derczynski et al. 2017 (the data); the head of `conll_bio`.
    Expected: 41.9 F1 (test) was best in the shared task, before BERT (their results).
    Hardware: not published. 3,394 training sentences: 1,070 steps of 32 rows.
    Command: spanbert finetune configs/ner.py:wnut17_bio --init-from /models/spanbert-base-cased
        --task.train wnut17train.conll --task.dev emerging.dev.conll --workdir /runs/wnut17
    """
    return conll_bio()


def wnut17_spans() -> FinetuneConfig:
    """WNUT-17 by spans of at most ten words.

    Paper: as `conll_spans`.
    Expected: none published for this head; compare with `wnut17_bio`.
    Hardware: as `wnut17_bio`.
    Command: spanbert finetune configs/ner.py:wnut17_spans --init-from /models/spanbert-base-cased
        --task.train wnut17train.conll --task.dev emerging.dev.conll --workdir /runs/wnut17_spans
    """
    return _with_spans(wnut17_bio())


def wikigold_bio() -> FinetuneConfig:
    """WikiGold: persons, places, organisations and others in 145 articles of Wikipedia, tagged IO,
    so that neighbours of one type are one entity; a tag for each word.

    Paper: Balasuriya et al. 2009 (the data); the head of `conll_bio`.
    Expected: none published for a split of its own: it has served to test models of CoNLL-2003.
    Hardware: not published. About 1,000 training sentences: 310 steps of 32 rows.
    Command: spanbert finetune configs/ner.py:wikigold_bio --init-from /models/spanbert-base-cased
        --task.train train.conll --task.dev dev.conll --workdir /runs/wikigold
    """
    return conll_bio()


def wikigold_spans() -> FinetuneConfig:
    """WikiGold by spans of at most ten words.

    Paper: as `conll_spans`.
    Expected: none published; compare with `wikigold_bio`.
    Hardware: as `wikigold_bio`.
    Command: spanbert finetune configs/ner.py:wikigold_spans --init-from /models/spanbert-base-cased
        --task.train train.conll --task.dev dev.conll --workdir /runs/wikigold_spans
    """
    return _with_spans(wikigold_bio())


def _experiment(task: TaggingConfig) -> FinetuneConfig:
    return FinetuneConfig(
        task=task,
        optimizer=dataclasses.replace(FINE_TUNING_OPTIMIZER, learning_rate=5e-5),
        training=FineTuningConfig(num_epochs=10.0),
    )


def _with_spans(config: FinetuneConfig) -> FinetuneConfig:
    assert isinstance(config.task, TaggingConfig)
    return dataclasses.replace(config, task=dataclasses.replace(config.task, method="spans"))

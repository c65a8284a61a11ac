"""Question answering in SQuAD's form. A variant is `dataclasses.replace` of another.

Four epochs in windows of 512 tokens, 128 apart; dev is scored ten times an epoch and the best
checkpoint is kept (appendix B). `--grid paper` tries the paper's learning rates and batch sizes.
"""

import dataclasses

from spanbert_jax.config import FinetuneConfig, FineTuningConfig
from spanbert_jax.config.tasks import SquadConfig


def squad1() -> FinetuneConfig:
    """SQuAD 1.1: every question has an answer in its context.

    Paper: Joshi et al. 2019 (arXiv 1907.10529), sec. 5.1 and appendix B, table 1.
    Expected: SpanBERT-large 88.8 exact and 94.6 F1 (test; the best of the grid); SpanBERT-base 92.4
        F1 (dev; README of the released code).
    Hardware: not published.
    Command: spanbert finetune configs/squad.py:squad1 --init-from RUN_OR_FOLDER
        --task.train train-v1.1.json --task.dev dev-v1.1.json --workdir runs/squad1
    """
    return FinetuneConfig(
        task=SquadConfig(), training=FineTuningConfig(num_epochs=4.0, batch_size=32)
    )


def squad2() -> FinetuneConfig:
    """SQuAD 2.0: about a third of the questions have no answer; a threshold is tuned on dev.

    Paper: Joshi et al. 2019, sec. 5.1 and appendix B, table 1.
    Expected: SpanBERT-large 85.7 exact and 88.7 F1 (test; the best of the grid); SpanBERT-base 83.6
        F1 (dev; README of the released code).
    Hardware: not published.
    Command: spanbert finetune configs/squad.py:squad2 --init-from RUN_OR_FOLDER
        --task.train train-v2.0.json --task.dev dev-v2.0.json --workdir runs/squad2
    """
    return dataclasses.replace(squad1(), task=SquadConfig(unanswerable=True))


def squadshifts_wiki() -> FinetuneConfig:
    """SQuADShifts, new Wikipedia articles: SQuAD 1.1 asked anew (Miller et al. 2020).

    Paper: not in SpanBERT's; trained as `squad1`. Miller et al. 2020 (arXiv 2004.14444) only test.
    Expected: not published for models that are trained on it.
    Hardware: not published.
    Command: spanbert finetune configs/squad.py:squadshifts_wiki --init-from RUN_OR_FOLDER
        --task.train train.json --task.dev dev.json --workdir runs/squadshifts_wiki
    """
    return squad1()


def squadshifts_amazon() -> FinetuneConfig:
    """SQuADShifts, reviews of products: other language than SQuAD's, with questions of its kind.

    Paper: not in SpanBERT's; trained as `squad1`. Miller et al. 2020 (arXiv 2004.14444) only test.
    Expected: not published for models that are trained on it.
    Hardware: not published.
    Command: spanbert finetune configs/squad.py:squadshifts_amazon --init-from RUN_OR_FOLDER
        --task.train train.json --task.dev dev.json --workdir runs/squadshifts_amazon
    """
    return squad1()


def policyqa() -> FinetuneConfig:
    """PolicyQA: questions about privacy policies, whose answers are longer than SQuAD's.

    Paper: not in SpanBERT's; trained as `squad1`, with longer answers. Ahmad et al. 2020
        (arXiv 2010.02557).
    Expected: not published for SpanBERT.
    Hardware: not published.
    Command: spanbert finetune configs/squad.py:policyqa --init-from RUN_OR_FOLDER
        --task.train train.json --task.dev dev.json --workdir runs/policyqa
    """
    return dataclasses.replace(squad1(), task=SquadConfig(max_answer_length=60))


def covid_qa() -> FinetuneConfig:
    """COVID-QA: whole papers of tens of thousands of characters, so dozens of windows a question.

    Paper: not in SpanBERT's; trained as `squad1`, with longer answers. Moeller et al. 2020 (ACL
        workshop on NLP for COVID-19).
    Expected: not published for SpanBERT.
    Hardware: not published. Of 47,000 windows for 911 questions one in fifteen holds the answer;
        of the others a tenth is trained on.
    Command: spanbert finetune configs/squad.py:covid_qa --init-from RUN_OR_FOLDER
        --task.train train.json --task.dev dev.json --workdir runs/covid_qa
    """
    return dataclasses.replace(
        squad1(), task=SquadConfig(max_answer_length=60, answerless_windows=0.1)
    )

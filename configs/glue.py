"""The nine tasks of GLUE: rows of 128 tokens, ten epochs (CoLA four), the best of a grid on dev.

Data are the official TSV files, or TensorFlow Datasets: --task.train tfds:glue/rte@train --task.dev
tfds:glue/rte@validation. Expected scores are those of the large model on the test sets (sec. 5.1);
their average is 82.8, with WNLI at 65.1, its majority class. `spanbert evaluate --submission`
writes what the server takes.
"""

import dataclasses

from spanbert_jax.config import FINE_TUNING_OPTIMIZER, FinetuneConfig, FineTuningConfig
from spanbert_jax.config.tasks import GlueConfig
from spanbert_jax.config.tasks.classification import GlueName


def cola() -> FinetuneConfig:
    """CoLA: whether a sentence is grammatical; Matthews correlation.

    Paper: Joshi et al. 2019 (arXiv 1907.10529), sec. 5.1 and appendix B: 4 epochs.
    Expected: 64.3 on test (Our BERT 58.6, Our BERT-1seq 63.5); spreads are not published.
    Hardware: not published; a grid is ten runs of 8,551 sentences.
    Command: spanbert finetune configs/glue.py:cola --init-from /models/spanbert-large-cased
        --task.train CoLA/train.tsv --task.dev CoLA/dev.tsv --grid paper --workdir /runs/cola
    """
    config = _glue("cola")
    return dataclasses.replace(
        config, training=dataclasses.replace(config.training, num_epochs=4.0)
    )


def sst2() -> FinetuneConfig:
    """SST-2: whether a sentence of a film review is positive; accuracy.

    Paper: Joshi et al. 2019, sec. 5.1 and appendix B.
    Expected: 94.8 on test (Our BERT 93.9, Our BERT-1seq 94.8); spreads are not published.
    Hardware: not published; a grid is ten runs of 67,349 sentences.
    Command: spanbert finetune configs/glue.py:sst2 --init-from /models/spanbert-large-cased
        --task.train SST-2/train.tsv --task.dev SST-2/dev.tsv --grid paper --workdir /runs/sst2
    """
    return _glue("sst2")


def mrpc() -> FinetuneConfig:
    """MRPC: whether two sentences say the same; the mean of accuracy and F1.

    Paper: Joshi et al. 2019, sec. 5.1 and appendix B.
    Expected: F1 90.9, accuracy 87.9 on test (Our BERT 90.1/86.6, Our BERT-1seq 91.2/87.8);
        spreads are not published.
    Hardware: not published; a grid is ten runs of 3,668 pairs.
    Command: spanbert finetune configs/glue.py:mrpc --init-from /models/spanbert-large-cased
        --task.train MRPC/train.tsv --task.dev MRPC/dev.tsv --grid paper --workdir /runs/mrpc
    """
    return _glue("mrpc")


def stsb() -> FinetuneConfig:
    """STS-B: how similar two sentences are, from 0 to 5; the mean of Pearson's and Spearman's
    correlation.

    Paper: Joshi et al. 2019, sec. 5.1 and appendix B.
    Expected: Pearson 89.9, Spearman 89.1 on test (Our BERT 88.4/89.1, Our BERT-1seq 89.0/88.4);
        spreads are not published.
    Hardware: not published; a grid is ten runs of 5,749 pairs.
    Command: spanbert finetune configs/glue.py:stsb --init-from /models/spanbert-large-cased
        --task.train STS-B/train.tsv --task.dev STS-B/dev.tsv --grid paper --workdir /runs/stsb
    """
    return _glue("stsb")


def qqp() -> FinetuneConfig:
    """QQP: whether two questions ask the same; the mean of accuracy and F1.

    Paper: Joshi et al. 2019, sec. 5.1 and appendix B.
    Expected: F1 71.9, accuracy 89.5 on test (Our BERT 71.8/89.3, Our BERT-1seq 72.1/89.5);
        spreads are not published.
    Hardware: not published; a grid is ten runs of 363,849 pairs.
    Command: spanbert finetune configs/glue.py:qqp --init-from /models/spanbert-large-cased
        --task.train QQP/train.tsv --task.dev QQP/dev.tsv --grid paper --workdir /runs/qqp
    """
    return _glue("qqp")


def mnli() -> FinetuneConfig:
    """MNLI: whether one sentence follows from another, contradicts it, or neither; accuracy on
    texts of the kinds that are trained on (matched) and of others. Matched chooses the checkpoint.

    Paper: Joshi et al. 2019, sec. 5.1 and appendix B.
    Expected: matched 88.1, mismatched 87.7 on test (Our BERT 87.2/86.6, Our BERT-1seq 88.0/87.4);
        spreads are not published.
    Hardware: not published; a grid is ten runs of 392,702 pairs.
    Command: spanbert finetune configs/glue.py:mnli --init-from /models/spanbert-large-cased
        --task.train MNLI/train.tsv --task.dev MNLI/dev_matched.tsv
        --task.dev-mismatched MNLI/dev_mismatched.tsv --grid paper --workdir /runs/mnli
    """
    return _glue("mnli")


def qnli() -> FinetuneConfig:
    """QNLI: whether a sentence holds the answer to a question; accuracy.

    Paper: Joshi et al. 2019, sec. 5.1 and appendix B.
    Expected: 94.3 on test (Our BERT 93.0, Our BERT-1seq 93.0); spreads are not published.
    Hardware: not published; a grid is ten runs of 104,743 pairs.
    Command: spanbert finetune configs/glue.py:qnli --init-from /models/spanbert-large-cased
        --task.train QNLI/train.tsv --task.dev QNLI/dev.tsv --grid paper --workdir /runs/qnli
    """
    return _glue("qnli")


def rte() -> FinetuneConfig:
    """RTE: whether one sentence follows from another; accuracy.

    Paper: Joshi et al. 2019, sec. 5.1 and appendix B.
    Expected: 79.0 on test (Our BERT 74.7, Our BERT-1seq 72.1); spreads are not published.
    Hardware: not published; a grid is ten runs of 2,490 pairs.
    Command: spanbert finetune configs/glue.py:rte --init-from /models/spanbert-large-cased
        --task.train RTE/train.tsv --task.dev RTE/dev.tsv --grid paper --workdir /runs/rte
    """
    return _glue("rte")


def wnli() -> FinetuneConfig:
    """WNLI: whether a sentence follows from another by what its pronoun means; accuracy.

    Paper: Joshi et al. 2019, sec. 5.1: not trained on, the majority class is submitted.
    Expected: 65.1 on test, the majority class; fine-tuned as here, models seldom do better.
    Hardware: not published; a grid is ten runs of 635 pairs.
    Command: spanbert finetune configs/glue.py:wnli --init-from /models/spanbert-large-cased
        --task.train WNLI/train.tsv --task.dev WNLI/dev.tsv --grid paper --workdir /runs/wnli
    """
    return _glue("wnli")


def _glue(name: GlueName) -> FinetuneConfig:
    """Appendix B: rows of 128 tokens, 10 epochs; rate and batch size of the grid's middle."""
    return FinetuneConfig(
        task=GlueConfig(glue_task=name, max_length=128),
        optimizer=FINE_TUNING_OPTIMIZER,
        training=FineTuningConfig(num_epochs=10.0, batch_size=32),
    )

"""Classifying texts of any table: one label, star ratings, several labels.

Data are CSV, TSV or JSON lines with named columns, or tfds:NAME/CONFIG@SPLIT; the columns are
flags: --task.text-column review --task.label-column stars. Learning rates and batches are those of
the paper for GLUE (appendix B).
"""

import dataclasses

from spanbert_jax.config import FINE_TUNING_OPTIMIZER, FinetuneConfig, FineTuningConfig
from spanbert_jax.config.tasks import TextClassificationConfig


def sentiment() -> FinetuneConfig:
    """One label a text, from a table with the columns `sentence` and `label`, such as SST-2.

    Paper: Joshi et al. 2019 (arXiv 1907.10529), sec. 5.1 and appendix B, for SST-2.
    Expected: 94.8 accuracy on SST-2's test at large size; spreads are not published.
    Hardware: not published; see configs/glue.py:sst2.
    Command: spanbert finetune configs/text_classification.py:sentiment
        --init-from /models/spanbert-base-cased --task.train SST-2/train.tsv
        --task.dev SST-2/dev.tsv --workdir /runs/sentiment
    """
    return FinetuneConfig(
        task=TextClassificationConfig(text_column="sentence"),
        optimizer=FINE_TUNING_OPTIMIZER,
        training=FineTuningConfig(num_epochs=10.0, batch_size=32),
    )


def star_ratings() -> FinetuneConfig:
    """Reviews and their stars, 1 to 5, as five labels; rare ratings count as much as common ones.

    The columns are those of Yelp's JSON lines; of others, for instance --task.text-column
    data/review_body --task.label-column data/star_rating for tfds:amazon_us_reviews.

    Paper: none of ours; three epochs, since such sets are large.
    Expected: not published for SpanBERT.
    Hardware: not measured.
    Command: spanbert finetune configs/text_classification.py:star_ratings
        --init-from /models/spanbert-base-cased --task.train reviews.jsonl --task.dev dev.jsonl
        --workdir /runs/stars
    """
    base = sentiment()
    return dataclasses.replace(
        base,
        task=TextClassificationConfig(
            label_column="stars", labels=("1", "2", "3", "4", "5"), max_length=256,
            class_weighting="balanced", metric="macro_f1",
        ),
        training=dataclasses.replace(base.training, num_epochs=3.0),
    )  # fmt: skip


def star_scores() -> FinetuneConfig:
    """Reviews and their stars as numbers, learnt by squared error: 4 for 5 errs less than 1 for 5.

    Paper: none of ours; as `star_ratings`.
    Expected: not published for SpanBERT.
    Hardware: not measured.
    Command: spanbert finetune configs/text_classification.py:star_scores
        --init-from /models/spanbert-base-cased --task.train reviews.jsonl --task.dev dev.jsonl
        --workdir /runs/scores
    """
    return dataclasses.replace(
        star_ratings(),
        task=TextClassificationConfig(label_column="stars", kind="regression", max_length=256),
    )


def topics() -> FinetuneConfig:
    """Any number of labels a text, in the column `labels`: "politics,sports", or a list in JSON.

    Paper: none of ours; as GLUE in appendix B.
    Expected: not published for SpanBERT.
    Hardware: not measured.
    Command: spanbert finetune configs/text_classification.py:topics
        --init-from /models/spanbert-base-cased --task.train articles.jsonl --task.dev dev.jsonl
        --workdir /runs/topics
    """
    return dataclasses.replace(
        sentiment(),
        task=TextClassificationConfig(label_column="labels", kind="multi_label", max_length=256),
    )

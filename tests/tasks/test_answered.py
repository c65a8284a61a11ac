"""Every task knows which of its examples have an answer."""

import pytest

from spanbert_jax.config.tasks import (
    GlueConfig,
    MrqaConfig,
    SquadConfig,
    TacredConfig,
    TaggingConfig,
    TextClassificationConfig,
)
from spanbert_jax.tasks.task import load_task

RELATION = {
    "tokens": ["Ada", "met", "Bob"], "subject": [0, 0], "object": [2, 2],
    "subject_type": "PERSON", "object_type": "PERSON",
}  # fmt: skip


@pytest.mark.parametrize(
    ("config", "asked", "answer"),
    [
        (SquadConfig(), {"question": "Who?", "context": "Ada met Bob."}, {"known": True}),
        (MrqaConfig(), {"question": "Who?", "context": "Ada met Bob."}, {"known": True}),
        (TextClassificationConfig(), {"text": "Ada met Bob."}, {"answer": "yes"}),
        (GlueConfig(glue_task="sst2"), {"text": "Ada met Bob."}, {"answer": "1"}),
        (TacredConfig(), RELATION, {"relation": "per:friends"}),
        (TaggingConfig(), {"tokens": ["Ada"]}, {"tags": ("B-PER",)}),
    ],
    ids=lambda value: value.name if hasattr(value, "name") else "",
)
def test_an_example_that_is_asked_about_has_no_answer_until_it_is_given_one(config, asked, answer):
    task = load_task(config)
    example = task.example(asked)
    assert not task.is_answered(example)
    assert task.is_answered(example._replace(**answer))

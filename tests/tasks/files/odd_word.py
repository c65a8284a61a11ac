"""Points at the word that does not belong: {"words": ["He", "ate", "a", "bridge"], "odd": 3}"""

import numpy as np

from spanbert_jax.config import FinetuneConfig, TaskConfig
from spanbert_jax.data.batch import TaskRow
from spanbert_jax.model.losses import cross_entropy
from spanbert_jax.model.task_heads import SpanHead
from spanbert_jax.tasks.task import Task, Verdict


class OddWord(Task):
    metric, per_token = "accuracy", frozenset({"start", "end"})

    def rows(self, examples, *, tokenizer, tables, training):
        for i, each in enumerate(examples):
            pieces = tokenizer.encode_batch(each["words"])
            starts = np.cumsum([1, *map(len, pieces)])[:-1]  # of every word, behind [CLS]
            ids = np.array([tokenizer.cls_id, *sum(pieces, []), tokenizer.sep_id], np.int32)
            yield TaskRow(ids, np.zeros_like(ids), i, {"odd": starts[each.get("odd", 0)]}, starts)

    def head(self, model, tables, dtype):
        return SpanHead(model, dtype)

    def loss(self, outputs, batch, tables):
        odd, weights = batch.fields["odd"][:, None], batch.row_weights[:, None]
        return cross_entropy(outputs["start"][:, None], target_ids=odd, weights=weights)

    def judge(self, examples, rows, outputs, *, tables, settings=None):
        found = [int(out["start"][row.notes].argmax()) for row, out in zip(rows, outputs)]
        right = [word == each["odd"] for word, each in zip(found, examples) if "odd" in each]
        return Verdict(found, {"accuracy": 100 * np.mean(right)} if right else {}, {})


class OddWordConfig(TaskConfig):
    name, definition = "odd_word", OddWord


def odd_word():
    return FinetuneConfig(task=OddWordConfig(max_length=64))

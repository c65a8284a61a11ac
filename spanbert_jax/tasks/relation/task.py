"""What sets of relations share: rows with markers, a class of the pooled state, predictions."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from spanbert_jax.config import ModelConfig
from spanbert_jax.config.tasks.relation import RelationConfig
from spanbert_jax.corpus.tokenizers import Tokenizer
from spanbert_jax.data.batch import TaskBatch, TaskRow
from spanbert_jax.errors import UserError
from spanbert_jax.model.losses import WeightedSums, cross_entropy
from spanbert_jax.model.task_heads import PooledHead
from spanbert_jax.tasks.relation.example import FIELDS, RelationExample, from_fields
from spanbert_jax.tasks.relation.markers import marker_table, stand_ins
from spanbert_jax.tasks.relation.predictions import read_predictions
from spanbert_jax.tasks.relation.rows import Markers, RowNotes, encoded_rows
from spanbert_jax.tasks.task import Dataset, Outputs, Settings, Tables, Task, Verdict


class Prediction(NamedTuple):
    """The relation of an example, and how probable each is, in the order of the labels; empty where
    that is not known."""

    relation: str
    probabilities: np.ndarray


class RelationTask(Task[RelationExample]):
    """A class for each sentence with two entities (run_tacred of the released code)."""

    verb = "relation"
    example_fields = FIELDS
    config: RelationConfig

    def labels(self, train: Sequence[RelationExample]) -> list[str]:
        """The classes, in order; the first of them is no relation."""
        raise NotImplementedError

    def scores_of(self, gold: Sequence[str], predicted: Sequence[str]) -> dict[str, float]:
        """The benchmark's scores, in percent."""
        raise NotImplementedError

    def dataset(self, examples: Sequence[RelationExample], *, training: bool) -> Dataset:
        """The examples, and what is to be said of them."""
        notes = []
        if training and (unknown := sum(each.relation is None for each in examples)):
            examples = [each for each in examples if each.relation is not None]
            notes.append(f"{unknown} examples without a relation are left out")
        if overlapping := sum(example.overlaps for example in examples):
            notes.append(f"{overlapping} examples have entities that overlap: shared words are the "
                         "subject's")  # fmt: skip
        return Dataset(examples, tuple(notes))

    def tables(self, train: Sequence[RelationExample], tokenizer: Tokenizer) -> Tables:
        labels = self.labels(train)
        if len(labels) < 2 or not train:
            raise UserError(
                f"{self.config.train}: must hold examples of two relations or more, found "
                f"{len(train)} examples of {', '.join(labels) or 'none'}; name the training data"
            )
        return {
            "labels": labels,
            "mode": self.config.mode,
            "markers": marker_table(train, config=self.config, tokenizer=tokenizer),
            "stand_ins": stand_ins(train),
        }

    def rows(
        self,
        examples: Sequence[RelationExample],
        *,
        tokenizer: Tokenizer,
        tables: Tables,
        training: bool,
    ) -> Iterator[TaskRow]:
        markers = Markers(tables["mode"], tables["markers"], tables["stand_ins"])
        classes = {label: i for i, label in enumerate(tables["labels"])}
        encoded = encoded_rows(
            examples, markers=markers, tokenizer=tokenizer, max_length=self.config.max_length
        )
        for number, (example, (ids, notes)) in enumerate(zip(examples, encoded, strict=True)):
            unseen = example.relation is not None and example.relation not in classes
            if unseen and (training or self.config.unseen_relations == "refuse"):
                raise UserError(
                    f"{example.where}: relation {example.relation} is unseen in training, which "
                    f"had {len(classes)}: {', '.join(list(classes)[:8])}, ...; mend the label, or "
                    "score such examples as mistakes: --task.unseen-relations count_wrong"
                )
            fields = {"label": np.int32(classes[example.relation or ""])} if training else {}
            yield TaskRow(
                ids, np.zeros_like(ids), number, fields, notes._replace(unseen_relation=unseen)
            )

    def remarks(self, rows: Sequence[TaskRow], *, tables: Tables) -> tuple[str, ...]:
        notes: list[RowNotes] = [row.notes for row in rows]
        types = sorted({name for each in notes for name in each.unseen_types})
        found = (
            (sum(each.lost_entity for each in notes),
             f"rows lost an entity, cut at --task.max-length {self.config.max_length}"),
            (sum(bool(each.unseen_types) for each in notes),
             f"rows show a type unseen in training ({', '.join(types)}) as the most frequent one"),
            (sum(each.unseen_relation for each in notes),
             "rows have a relation unseen in training: counted as mistakes"),
        )  # fmt: skip
        return tuple(f"{count} {what}" for count, what in found if count)

    def is_answered(self, example: RelationExample) -> bool:
        return example.relation is not None

    def head(self, model: ModelConfig, tables: Tables, dtype: Any) -> nn.Module:
        return PooledHead(model, dtype, num_classes=len(tables["labels"]))

    def loss(self, outputs: dict[str, jax.Array], batch: TaskBatch, tables: Tables) -> WeightedSums:
        return cross_entropy(
            outputs["logits"][:, None],
            target_ids=batch.fields["label"][:, None],
            weights=batch.row_weights[:, None].astype(jnp.int32),
        )

    def judge(
        self,
        examples: Sequence[RelationExample],
        rows: Sequence[TaskRow],
        outputs: Sequence[Outputs],
        *,
        tables: Tables,
        settings: Settings | None = None,
    ) -> Verdict:
        predictions = []
        for each in outputs:
            odds = np.exp(each["logits"] - each["logits"].max())
            label = tables["labels"][int(each["logits"].argmax())]
            predictions.append(Prediction(label, odds / odds.sum()))
        return Verdict(predictions, self.scores(examples, [p.relation for p in predictions]), {})

    def scores(
        self, examples: Sequence[RelationExample], predicted: Sequence[str]
    ) -> dict[str, float]:
        """Scores over the examples whose relation is known."""
        pairs = [
            (example.relation, relation)
            for example, relation in zip(examples, predicted, strict=True)
            if example.relation is not None
        ]
        return self.scores_of([g for g, _ in pairs], [p for _, p in pairs]) if pairs else {}

    def read_predictions(
        self, path: str, examples: Sequence[RelationExample], *, tables: Tables | None = None
    ) -> Verdict:
        """The verdict on a file of predictions; it says nothing of probabilities.

        Raises:
            UserError: they are of another data set, as far as their form shows it, or of a relation
                that neither the examples nor the checkpoint have.
        """
        learnt = (tables or {}).get("labels", ())
        given = (example.relation for example in examples if example.relation is not None)
        known = dict.fromkeys([*self.labels([]), *learnt, *given])
        relations = read_predictions(path, examples, known=list(known))
        predictions = [Prediction(relation, np.empty(0)) for relation in relations]
        return Verdict(predictions, self.scores(examples, relations), {})

    def example(self, fields: Mapping[str, Any]) -> RelationExample:
        return from_fields(fields)

    def described(
        self, examples: Sequence[RelationExample], verdict: Verdict, *, tables: Tables
    ) -> list[dict[str, Any]]:
        described = []
        for example, (relation, probabilities) in zip(examples, verdict.predictions, strict=True):
            best = np.argsort(-probabilities, kind="stable")
            ranked = {tables["labels"][i]: float(probabilities[i]) for i in best}
            described.append(
                ({"id": example.id} if example.id else {})
                | {"relation": relation, "probability": ranked[relation], "probabilities": ranked}
            )
        return described

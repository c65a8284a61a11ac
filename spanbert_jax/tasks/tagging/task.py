"""Named entities in sentences of words: by a tag for each word, or by a class for each span."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import flax.linen as nn
import jax

from spanbert_jax.config import ModelConfig
from spanbert_jax.config.tasks.tagging import TaggingConfig
from spanbert_jax.corpus.tokenizers import Tokenizer
from spanbert_jax.data.batch import TaskBatch, TaskRow
from spanbert_jax.errors import UserError
from spanbert_jax.model.losses import WeightedSums
from spanbert_jax.tasks.tagging.bio import Bio
from spanbert_jax.tasks.tagging.entities import entities_of, tags_of
from spanbert_jax.tasks.tagging.method import Found, Method
from spanbert_jax.tasks.tagging.predictions import prediction_lines, read_predictions
from spanbert_jax.tasks.tagging.scores import entity_scores
from spanbert_jax.tasks.tagging.sentence import TaggedSentence, from_fields
from spanbert_jax.tasks.tagging.sentence_files import read_sentences
from spanbert_jax.tasks.tagging.spans import Spans
from spanbert_jax.tasks.tagging.windows import Window, windows_of, word_pieces
from spanbert_jax.tasks.task import Dataset, Outputs, Settings, Tables, Task, Verdict


class Prediction(NamedTuple):
    """The entities of a sentence, and its tags in BIO."""

    found: list[Found]
    tags: list[str]


class Tagging(Task[TaggedSentence]):
    """Entities of words, scored as seqeval does."""

    metric = "f1"
    per_token: ClassVar[frozenset[str]] = frozenset(
        {"label_ids", "label_weights", "logits", "first_pieces", "last_pieces", "span_labels",
         "span_weights", "span_logits"}
    )  # fmt: skip
    verb = "tag"
    example_fields = ("text", "tokens")
    config: TaggingConfig

    @property
    def method(self) -> Method:
        return Bio() if self.config.method == "bio" else Spans(self.config)

    def read(self, path: str, *, training: bool) -> Dataset[TaggedSentence]:
        sentences, notes = read_sentences(path, self.config)
        if training and (untagged := sum(each.tags is None for each in sentences)):
            sentences = [each for each in sentences if each.tags is not None]
            notes.append(f"{untagged} sentences without tags are left out")
        entities = [entity for each in sentences for entity in entities_of(each.tags or ())]
        long = sum(each.end - each.start > self.config.max_span_words for each in entities)
        if long and self.config.method == "spans":
            notes.append(
                f"{long} of {len(entities)} entities have more words than --task.max-span-words "
                f"{self.config.max_span_words}, and are never found"
            )
        return Dataset(sentences, tuple(notes))

    def tables(self, train: Sequence[TaggedSentence], tokenizer: Tokenizer) -> Tables:
        types = {entity.type for each in train for entity in entities_of(each.tags or ())}
        if not types:
            raise UserError(
                f"{self.config.train}: must hold sentences with entities, found none in "
                f"{len(train)} sentences; name another file, or its column with --task.tag-column"
            )
        return {"types": sorted(types)}

    def rows(
        self,
        examples: Sequence[TaggedSentence],
        *,
        tokenizer: Tokenizer,
        tables: Tables,
        training: bool,
    ) -> Iterator[TaskRow]:
        config, method, types = self.config, self.method, tables["types"]
        pieces = word_pieces(examples, tokenizer)
        for number, (sentence, words) in enumerate(zip(examples, pieces, strict=True)):
            _check_types(sentence, types)
            for ids, window in windows_of(
                words, tokenizer=tokenizer, max_length=config.max_length,
                overlap=config.window_overlap,
            ):  # fmt: skip
                fields = method.inputs(window, length=len(ids))
                if training:
                    tags = sentence.tags or ()
                    fields |= method.targets(tags, window, types=types, length=len(ids))
                yield TaskRow(ids, ids * 0, number, fields, window)

    def remarks(self, rows: Sequence[TaskRow], *, tables: Tables) -> tuple[str, ...]:
        first: list[Window] = [row.notes for row in rows if row.notes.start == 0]
        several = sum(window.num_windows > 1 for window in first)
        cut = sum(window.cut_words for window in first)
        found = (
            (several, f"sentences are longer than --task.max-length {self.config.max_length}, and "
                      "read in windows"),
            (cut, "words are longer than a row: only their beginning is read"),
        )  # fmt: skip
        return tuple(f"{count} {what}" for count, what in found if count)

    def is_answered(self, example: TaggedSentence) -> bool:
        return example.tags is not None

    def head(self, model: ModelConfig, tables: Tables, dtype: Any) -> nn.Module:
        return self.method.head(model, dtype, types=tables["types"])

    def loss(self, outputs: dict[str, jax.Array], batch: TaskBatch, tables: Tables) -> WeightedSums:
        return self.method.loss(outputs, batch)

    def weight(self, batch: TaskBatch) -> jax.Array:
        return self.method.weight(batch)

    def judge(
        self,
        examples: Sequence[TaggedSentence],
        rows: Sequence[TaskRow],
        outputs: Sequence[Outputs],
        *,
        tables: Tables,
        settings: Settings | None = None,
    ) -> Verdict:
        windows: dict[int, list[tuple[Window, Outputs]]] = defaultdict(list)
        for row, output in zip(rows, outputs, strict=True):
            windows[row.example].append((row.notes, output))
        predictions = []
        for number, sentence in enumerate(examples):
            own, outputs_of_own = zip(*windows[number], strict=True)
            found = self.method.entities(own, outputs_of_own, types=tables["types"])
            tags = tags_of([each.entity for each in found], len(sentence.words))
            predictions.append(Prediction(found, tags))
        return Verdict(predictions, self.scores(examples, [each.tags for each in predictions]), {})

    def scores(
        self, examples: Sequence[TaggedSentence], predicted: Sequence[Sequence[str]]
    ) -> dict[str, float]:
        """In percent, over the sentences whose tags are known."""
        pairs = [
            (sentence.tags, tags)
            for sentence, tags in zip(examples, predicted, strict=True)
            if sentence.tags is not None
        ]
        scores = entity_scores([g for g, _ in pairs], [p for _, p in pairs]) if pairs else {}
        return {name: 100.0 * score for name, score in scores.items()}

    def prediction_files(
        self, examples: Sequence[TaggedSentence], verdict: Verdict, *, tables: Tables
    ) -> dict[str, str]:
        tags = [prediction.tags for prediction in verdict.predictions]
        return {"predictions.conll": prediction_lines(examples, tags)}

    def read_predictions(
        self, path: str, examples: Sequence[TaggedSentence], *, tables: Tables | None = None
    ) -> Verdict:
        """The verdict on a file of predictions; it says nothing of probabilities.

        Raises:
            UserError: they are of another data set.
        """
        given = {entity.type for each in examples for entity in entities_of(each.tags or ())}
        # Of two that are one in a column, that without spaces is read, in any order of the set.
        types = sorted(given.union((tables or {}).get("types", ())))
        tags = read_predictions(path, examples, types=types)
        predictions = [
            Prediction([Found(entity, 1.0) for entity in entities_of(each)], each) for each in tags
        ]
        return Verdict(predictions, self.scores(examples, tags), {})

    def example(self, fields: Mapping[str, Any]) -> TaggedSentence:
        return from_fields(fields)

    def described(
        self, examples: Sequence[TaggedSentence], verdict: Verdict, *, tables: Tables
    ) -> list[dict[str, Any]]:
        pairs = zip(examples, verdict.predictions, strict=True)
        return [
            {
                "entities": [_described(found, sentence) for found in prediction.found],
                "words": list(sentence.words),
                "tags": prediction.tags,
            }
            for sentence, prediction in pairs
        ]


def _check_types(sentence: TaggedSentence, types: Sequence[str]) -> None:
    for entity in entities_of(sentence.tags or ()):
        if entity.type not in types:
            words = " ".join(sentence.words[entity.start : entity.end])
            raise UserError(
                f"{sentence.where}: the tag {entity.type} of {words!r} is unseen in training, which"
                f" had {', '.join(types)}; mend the tag, or train on data that have it"
            )


def _described(found: Found, sentence: TaggedSentence) -> dict[str, Any]:
    """An entity in characters [start, end) of the text, or in words [start, end)."""
    (kind, start, end), probability = found
    text = " ".join(sentence.words[start:end])
    if sentence.text is not None:
        start, end = sentence.offsets[start][0], sentence.offsets[end - 1][1]
        text = sentence.text[start:end]
    return {"type": kind, "text": text, "start": start, "end": end, "probability": probability}

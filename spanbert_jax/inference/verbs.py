"""The verbs of a model at hand: answer, classify, relation, tag. In: texts, one or several.
Out: what the model is asked, as JSON-like dicts.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from spanbert_jax.errors import UserError

Fields = dict[str, Any]
"""One example, as JSON has it."""

HEADS = {
    "answer": "question answering",
    "classify": "text classification",
    "relation": "relation extraction",
    "tag": "tagging",
}
"""What each verb needs a head of."""


class Verbs:
    """What a fine-tuned model can be asked. Each verb takes one example, and gives a dict; or
    several, as lists, and gives a list of dicts, computed in batches of like length.
    """

    def answer(self, question: str | Sequence[str], context: str | Sequence[str]) -> Any:
        """The answer to a question in its context, of any length.

        Many questions may share one context, and many contexts one question.

        model.answer("Where was Ada born?", "Ada was born in London.")
        -> {"answer": "London", "start": 16, "end": 22, "probability": 0.97, "n_best": [...], ...}
        """
        return self._ask("answer", examples_of(question=question, context=context))

    def classify(
        self, text: str | Sequence[str], text_pair: str | Sequence[str] | None = None
    ) -> Any:
        """The label of a text, or of a pair of texts.

        model.classify("A masterpiece.")
        -> {"text": "A masterpiece.", "label": "positive", "probability": 0.99, ...}
        """
        pair = {} if text_pair is None else {"text_pair": text_pair}
        return self._ask("classify", examples_of(text=text, **pair))

    def relation(self, sentence: str | Fields | Sequence[Fields], **entities: Any) -> Any:
        """The relation between two entities of a sentence.

        model.relation("Ada was born in London.", subject=(0, 3), object=(16, 22))
        -> {"relation": "per:city_of_birth", "probability": 0.9, ...}

        sentence: its text; or an example, or several, as JSON has them:
            {"tokens": [...], "subject": [0, 0], "object": [4, 4], "subject_type": "PERSON"}.
        entities: of a text: `subject` and `object` as characters [start, end), and where the
            training data had them `subject_type` and `object_type`.
        """
        if isinstance(sentence, str):
            return self._ask("relation", {"text": sentence, **entities})
        return self._ask("relation", sentence)

    def tag(self, text: str | Sequence[str | Sequence[str]]) -> Any:
        """The entities of a text; of several texts, each a string or a list of its words.

        model.tag("Ada was born in London.")
        -> {"entities": [{"type": "PER", "text": "Ada", "start": 0, "end": 3, ...}, ...], ...}
        """
        if isinstance(text, str):
            return self._ask("tag", {"text": text})
        return self._ask(
            "tag",
            [{"text": each} if isinstance(each, str) else {"tokens": list(each)} for each in text],
        )

    def _ask(self, verb: str, examples: Fields | Sequence[Fields]) -> Any:
        """A dict for one example, a list of dicts for several.

        Raises:
            UserError: the model has no head for it, or an example is none.
        """
        raise NotImplementedError


def examples_of(**fields: str | Sequence[str]) -> Fields | list[Fields]:
    """One example where all fields are one text; else one for each place of the lists, of which a
    single text is part every time.

    question=["a?", "b?"], context="c"
    -> [{"question": "a?", "context": "c"}, {"question": "b?", "context": "c"}]

    Raises:
        UserError: lists of different lengths.
    """
    sizes = {name: len(value) for name, value in fields.items() if not isinstance(value, str)}
    if not sizes:
        return dict(fields)
    if len(set(sizes.values())) > 1:
        found = ", ".join(f"{size} of {name}" for name, size in sizes.items())
        raise UserError(
            f"lists must be of one length, found {found}; give one text, or as many as of the other"
        )
    return [
        {name: value if isinstance(value, str) else value[i] for name, value in fields.items()}
        for i in range(next(iter(sizes.values())))
    ]


def is_one(examples: Fields | Sequence[Fields]) -> bool:
    return isinstance(examples, Mapping)


def check_verb(verb: str, *, own: str, found: str) -> None:
    """Raise `UserError` unless a model whose task has the verb `own` can be asked `verb`.

    A task without a verb can be asked any: its examples say whether they fit.
    """
    if own and own != verb:
        raise no_head(verb, found=f"{found}, which is asked with {own}")


def no_head(verb: str, *, found: str) -> UserError:
    """The error for a model without the head asked for."""
    return UserError(
        f"{verb} needs a model with a head of {HEADS.get(verb, verb)}, found {found}; name a "
        "checkpoint of spanbert finetune with a task that has one"
    )

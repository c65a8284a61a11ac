"""Predictions as files and as JSON: the official forms, and what `spanbert predict` shows.

In: questions and their predictions. Out: JSON; or a predictions.json read back.
"""

import json
from collections.abc import Sequence
from typing import Any

from spanbert_jax.errors import UserError
from spanbert_jax.tasks.question_answering.decoding import Candidate, Prediction
from spanbert_jax.tasks.question_answering.locating import shown
from spanbert_jax.tasks.question_answering.question import Question
from spanbert_jax.tasks.question_answering.records import parse_json
from spanbert_jax.tasks.question_answering.scoring import check_ids
from spanbert_jax.tasks.text_files import read_text


def as_json(content: Any) -> str:
    """As the released code writes it."""
    return json.dumps(content, indent=4) + "\n"


def n_best_json(prediction: Prediction) -> list[dict[str, Any]]:
    """The entries of one question in nbest_predictions.json."""
    return [
        {
            "text": each.text,
            "probability": probability,
            "start_logit": each.start_score,
            "end_logit": each.end_score,
        }
        for each, probability in zip(prediction.n_best, prediction.probabilities, strict=True)
    ]


def read_predictions(path: str, ids: Sequence[str]) -> list[str]:
    """The answers of a predictions.json, in the order of `ids`.

    Raises:
        UserError: it is no object of texts by id, or its ids are not these.
    """
    content = parse_json(read_text(path), path)
    if not isinstance(content, dict):
        raise UserError(
            f"{path}: must be an object of answers by the id of their question, found "
            f"{type(content).__name__}; name a predictions.json"
        )
    for key, text in content.items():
        if not isinstance(text, str):
            raise UserError(
                f"{path}: the answer to {key!r} must be text, found {text!r:.60}; name a "
                "predictions.json"
            )
    missing, unknown = check_ids(content, ids)
    if missing or unknown:
        raise UserError(
            f"{path}: must answer the {len(ids):,} questions of the data set, each once; found "
            f"{_some('without an answer', missing)} and {_some('that it does not ask', unknown)}; "
            "name the predictions for this data set, or the data set of these predictions"
        )
    return [content[each] for each in ids]


def _some(what: str, ids: list[str]) -> str:
    return f"{len(ids):,} {what}" + (f" ({shown(ids)})" if ids else "")


def given(text: str) -> Prediction:
    """A prediction of which the text alone is known."""
    return Prediction(text, Candidate(text, 0.0, 0.0), (), ())


def described(question: Question, prediction: Prediction) -> dict[str, Any]:
    """One answer as `spanbert predict answer` shows it, its place in characters of the context.

    Without an answer, `answer` is empty, and `start` and `end` are null.
    """
    n_best = [
        _described_candidate(each, probability)
        for each, probability in zip(prediction.n_best, prediction.probabilities, strict=True)
    ]
    answer = next((each for each in n_best if each["text"] == prediction.text), None)
    answer = answer or _described_candidate(Candidate("", 0.0, 0.0), 0.0)
    shown_null = {}
    if prediction.null_odds is not None:
        null = next(each["probability"] for each in n_best if not each["text"])
        shown_null = {"null_probability": null}
    return {
        "id": question.id,
        "question": question.question,
        "answer": answer["text"],
        "start": answer["start"],
        "end": answer["end"],
        "probability": answer["probability"],
        **shown_null,
        "n_best": n_best,
    }


def _described_candidate(candidate: Candidate, probability: float) -> dict[str, Any]:
    start, end = candidate.span or (None, None)
    return {"text": candidate.text, "start": start, "end": end, "probability": probability}

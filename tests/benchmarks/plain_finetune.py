"""What a careful user of PyTorch and Transformers writes to fine-tune. In: a folder of weights, two
files, a `Recipe`. Out: scores on dev, and the best weights on disk.

AdamW in one fused kernel, linear warmup and decay, gradients clipped to a norm of 1, shuffled
batches padded to their longest row, dev without gradients, its rows sorted by length. The best
weights so far are kept in memory and written once, at the end: no moments, no checkpoint between.
"""

import csv
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    get_linear_schedule_with_warmup,
)

Row = Mapping[str, Any]


class Recipe(NamedTuple):
    """What both libraries are told."""

    num_epochs: float
    batch_size: int
    learning_rate: float
    evaluations_per_epoch: int
    seed: int
    max_length: int
    eval_batch_size: int = 64
    warmup_fraction: float = 0.1
    weight_decay: float = 0.01
    epsilon: float = 1e-6
    max_grad_norm: float = 1.0


class Outcome(NamedTuple):
    """What a run came to."""

    score: float
    """By which the best weights are chosen, in percent."""
    scores: dict[str, float]
    step: int
    """Of the best weights."""
    training_seconds: float
    """Wall time from weights and rows in memory to the best weights on disk."""


class Columns(NamedTuple):
    """Where an official file of GLUE holds what, and what its labels are."""

    texts: tuple[str, ...]
    answer: str
    labels: tuple[str, ...] = ("0", "1")
    has_f1: bool = False


GLUE = {
    "mrpc": Columns(("#1 String", "#2 String"), "Quality", has_f1=True),
    "rte": Columns(("sentence1", "sentence2"), "label", ("entailment", "not_entailment")),
    "qnli": Columns(("question", "sentence"), "label", ("entailment", "not_entailment")),
    "sst2": Columns(("sentence",), "label"),
}


class Classification:
    """A task of GLUE. A task of another kind has these four methods too."""

    def __init__(self, name: str, recipe: Recipe) -> None:
        self._columns, self._max_length = GLUE[name], recipe.max_length

    def model(self, folder: str) -> Any:
        return AutoModelForSequenceClassification.from_pretrained(
            folder, num_labels=len(self._columns.labels)
        )

    def rows(self, path: str, tokenizer: Any, *, training: bool) -> list[Row]:
        """Tokens and label of every example."""
        with Path(path).open(encoding="utf-8", newline="") as file:
            examples = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
        texts = [[each[name].strip() for each in examples] for name in self._columns.texts]
        encoded = tokenizer(*texts, truncation=True, max_length=self._max_length)
        labels = [self._columns.labels.index(each[self._columns.answer]) for each in examples]
        return [
            {name: values[i] for name, values in encoded.items()} | {"labels": label}
            for i, label in enumerate(labels)
        ]

    def collator(self, tokenizer: Any) -> Any:
        return DataCollatorWithPadding(tokenizer)

    def scores(self, rows: Sequence[Row], outputs: Sequence[Any]) -> dict[str, float]:
        """In percent; the first is that by which the best weights are chosen."""
        truth = np.array([row["labels"] for row in rows])
        guess = np.concatenate([output.logits.numpy().argmax(-1) for output in outputs])
        accuracy = float(np.mean(truth == guess))
        if not self._columns.has_f1:
            return {"accuracy": 100 * accuracy}
        f1 = float(2 * np.sum(truth & guess) / max(np.sum(truth) + np.sum(guess), 1))
        scores = {"accuracy_and_f1": (accuracy + f1) / 2, "accuracy": accuracy, "f1": f1}
        return {name: 100 * value for name, value in scores.items()}


def finetune(folder: str, task: Any, *, train: str, dev: str, out: Path, recipe: Recipe) -> Outcome:
    """Train, score dev on the way, write the best weights."""
    torch.manual_seed(recipe.seed)
    tokenizer, model = AutoTokenizer.from_pretrained(folder), task.model(folder)
    rows = task.rows(train, tokenizer, training=True)
    dev_rows = sorted(
        task.rows(dev, tokenizer, training=False), key=lambda row: len(row["input_ids"])
    )
    start = time.perf_counter()
    load = partial(DataLoader, collate_fn=task.collator(tokenizer))
    batches = load(rows, batch_size=recipe.batch_size, shuffle=True)
    dev_batches = load(dev_rows, batch_size=recipe.eval_batch_size)
    num_steps = round(recipe.num_epochs * len(batches))
    eval_every = max(1, round(len(batches) / recipe.evaluations_per_epoch))
    optimizer = make_optimizer(model, recipe)
    schedule = get_linear_schedule_with_warmup(
        optimizer, round(recipe.warmup_fraction * num_steps), num_steps
    )
    best: tuple[float, int, dict[str, float], Any] = (-np.inf, 0, {}, None)
    step = 0
    while step < num_steps:
        for batch in batches:
            model.train()
            model(**batch).loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.max_grad_norm)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            step += 1
            if step % eval_every == 0 or step == num_steps:
                scores = evaluate(model, task, dev_rows, dev_batches)
                score = next(iter(scores.values()))
                if score > best[0]:
                    weights = {name: value.clone() for name, value in model.state_dict().items()}
                    best = score, step, scores, weights
            if step == num_steps:
                break
    score, best_step, scores, weights = best
    model.load_state_dict(weights)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    return Outcome(score, scores, best_step, time.perf_counter() - start)


@torch.inference_mode()
def evaluate(model: Any, task: Any, rows: Sequence[Row], batches: Any) -> dict[str, float]:
    model.eval()
    return task.scores(rows, [model(**batch) for batch in batches])


def make_optimizer(model: Any, recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW that does not decay biases and LayerNorms."""
    decayed, others = [], []
    for name, parameter in model.named_parameters():
        (others if "bias" in name or "LayerNorm" in name else decayed).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, eps=recipe.epsilon, fused=True)

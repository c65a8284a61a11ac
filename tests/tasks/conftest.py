"""A tiny model that learns any task by the methods of `Task` alone, and its tokenizer."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
import pytest
from flax.core import meta

from spanbert_jax.config import ComputeConfig, ModelConfig
from spanbert_jax.corpus.tokenizers.word_piece import WordPieceTokenizer, train_wordpiece
from spanbert_jax.data.task_batches import RowBatches
from spanbert_jax.model.task_model import TaskModel
from spanbert_jax.tasks.outputs import outputs_of
from spanbert_jax.tasks.task import Tables, Task, Verdict
from spanbert_jax.training.task_objective import TaskObjective

WORDS = (
    "the film was good bad long a very fine dull story and we liked hated it this that plot acting "
    "bridge ate bread he she soup river drank"
)


class Learnt(NamedTuple):
    """What became of a task."""

    losses: list[float]
    verdict: Verdict
    examples: list[Any]
    tables: Tables


@pytest.fixture(scope="session")
def tokenizer() -> WordPieceTokenizer:
    return train_wordpiece([WORDS] * 5, vocab_size=110, lowercase=True)


@pytest.fixture(scope="session")
def learn(tokenizer: WordPieceTokenizer) -> Callable[..., Learnt]:
    """Fine-tunes random weights on one file, and judges another."""

    def run(task: Task[Any], train: str, dev: str, *, num_steps: int = 30) -> Learnt:
        examples = task.read(train, training=True).examples
        tables = task.tables(examples, tokenizer)
        model = ModelConfig(
            vocab_size=tokenizer.vocab_size, hidden_size=16, num_layers=1, num_heads=2, mlp_size=32,
            max_positions=64, dropout_rate=0.0, attention_dropout_rate=0.0,
        )  # fmt: skip

        def batches(examples: list[Any], *, training: bool) -> RowBatches:
            rows = task.rows(examples, tokenizer=tokenizer, tables=tables, training=training)
            return RowBatches(
                list(rows), max_length=task.config.max_length, per_token=task.per_token,
                pad_id=tokenizer.pad_id,
            )  # fmt: skip

        objective = TaskObjective(
            TaskModel(model, ComputeConfig(), task.head(model, tables, jnp.float32)),
            lambda outputs, batch: task.loss(outputs, batch, tables),
            task.weight,
        )
        rows = batches(examples, training=True)
        (chosen, *_) = rows.longest_first(batch_size=len(examples))
        # A row of padding, which must count nothing.
        batch = jax.device_put(rows.batch(chosen, batch_size=len(examples) + 1))
        params = meta.unbox(objective.init(jax.random.key(0), batch))
        optimizer = optax.adam(1e-2)

        @jax.jit
        def step(params: Any, state: Any) -> Any:
            def mean_loss(params: Any) -> Any:
                sums = objective.sums(params, batch, None)["task"]
                return sums.loss * objective.scales(batch)["task"], sums.weight

            (loss, weight), gradients = jax.value_and_grad(mean_loss, has_aux=True)(params)
            updates, state = optimizer.update(gradients, state)
            return optax.apply_updates(params, updates), state, loss, weight

        state, losses = optimizer.init(params), []
        for _ in range(num_steps):
            params, state, loss, weight = step(params, state)
            assert weight == task.weight(batch)
            losses.append(float(loss))

        asked = list(task.read(dev, training=False).examples)
        dev_rows = batches(asked, training=False)
        outputs = outputs_of(
            dev_rows, task, batch_size=4,
            run=jax.jit(lambda batch: objective.outputs(params, batch)),
        )  # fmt: skip
        verdict = task.judge(asked, dev_rows.rows, outputs, tables=tables)
        return Learnt(losses, verdict, asked, tables)

    return run

"""Asks a pretrained model. In: a run's folder and sentences. Out: candidates on stdout."""

import dataclasses
import json
import sys
from collections.abc import Iterable, Set

from etils import epath
from rich.console import Console

from spanbert_jax.config import PretrainConfig
from spanbert_jax.config.predict import FillConfig
from spanbert_jax.errors import UserError
from spanbert_jax.tasks.fill import FilledText, fill_with_model
from spanbert_jax.tasks.fill_report import print_filled, render_plain
from spanbert_jax.training.compilation_cache import keep_compiled
from spanbert_jax.weights.loading import model_without, read_run


def run(config: FillConfig) -> None:
    """Fill in the masked spans of the texts and print the candidates."""
    texts = config.texts or _lines_of_standard_input()
    folder = epath.Path(config.checkpoint).expanduser()
    saved = read_run(folder, step=config.step)
    keep_compiled()
    filled = fill_with_model(
        texts,
        config=_with_trained_heads(saved.run.pretrain_config, saved.fresh_heads, folder),
        params=saved.run.params,
        tokenizer=saved.tokenizer,
        top=config.top,
    )
    show(filled, as_json=config.json)


def _with_trained_heads(
    config: PretrainConfig, fresh: Set[str], folder: epath.Path
) -> PretrainConfig:
    """The config without a span-boundary head that an import began at random: it has no say.

    Raises:
        UserError: the masked language head was begun at random too.
    """
    if "mlm_head" in fresh:
        raise UserError(
            f"{folder}: filling in needs a trained masked language head, found one that `spanbert "
            "import` began at random, since its source has none; train it first: spanbert pretrain "
            f"CONFIG --init-from {folder}"
        )
    if not fresh:
        return config
    return dataclasses.replace(config, model=model_without(config.model, fresh))


def _lines_of_standard_input() -> tuple[str, ...]:
    if sys.stdin.isatty():
        raise UserError(
            "there is no text to fill in; write it behind the flags, such as "
            '"The capital of France is [MASK] ." or pipe one text a line'
        )
    texts = tuple(line.strip() for line in sys.stdin if line.strip())
    if not texts:
        raise UserError("standard input holds no text; pipe one text with [MASK] a line")
    return texts


def show(filled: Iterable[FilledText], *, as_json: bool) -> None:
    """JSON lines where asked for; tables in a terminal; plain columns elsewhere."""
    texts = list(filled)
    if as_json:
        for text in texts:
            print(json.dumps(dataclasses.asdict(text), ensure_ascii=False))
    elif sys.stdout.isatty():
        print_filled(texts, Console())
    else:
        print(render_plain(texts))

"""The README.md of an exported model: what it is, where it comes from, how it is loaded."""

import json
from typing import Any, NamedTuple

from spanbert_jax import __version__
from spanbert_jax.training.saved_run import LoadedRun
from spanbert_jax.weights.tokenizer_export import Agreement

CARD_FILE = "README.md"


class Card(NamedTuple):
    """What the card says that the checkpoint does not know."""

    name: str
    """Of the run's folder."""
    imported: dict[str, Any] | None = None
    """Where the weights came from, for those that were imported and not trained here."""


def model_card(run: LoadedRun, card: Card, config: dict[str, Any], tokenizer: Agreement) -> str:
    """The whole text; short, and true of this model alone."""
    sections = [_header(card), _what(run, config), _origin(run, card), _loading(config)]
    if run.pretrain_config.model.span_boundary_head:
        sections.append(_span_boundary(run))
    sections += [_tokenizer(tokenizer), _licence(run, card)]
    return "\n\n".join(sections) + "\n"


def _header(card: Card) -> str:
    return f"---\nlibrary_name: transformers\ntags: [spanbert, fill-mask]\n---\n\n# {card.name}"


def _what(run: LoadedRun, config: dict[str, Any]) -> str:
    model = run.pretrain_config.model
    heads = ["masked language model"]
    heads += ["span boundary"] * model.span_boundary_head
    heads += ["next sentence"] * model.next_sentence_head
    return (
        f"A text encoder in the {config['model_type'].upper()} architecture of Transformers: "
        f"{model.num_layers} layers of width {model.hidden_size}, {model.num_heads} heads, "
        f"vocabulary {model.vocab_size:,}, sequences of up to {model.max_positions} tokens. Heads: "
        f"{', '.join(heads)}."
    )


def _origin(run: LoadedRun, card: Card) -> str:
    if card.imported is not None:
        fresh = list(card.imported["initialised"])
        random = f" Not trained, but random: {', '.join(fresh)}." if fresh else ""
        return (
            f"Imported from {card.imported['family']} weights by spanbert_jax {__version__}, not "
            f"trained further.{random}"
        )
    config = run.pretrain_config
    chosen = {
        "masking": config.masking.scheme,
        "sequence_length": config.data.sequence_length,
        "batch_size": config.data.batch_size,
        "learning_rate": config.optimizer.learning_rate,
        "warmup_steps": config.optimizer.warmup_steps,
        "seed": config.training.seed,
    }
    begun = f" It began with the weights of {config.init_from}." if config.init_from else ""
    return (
        f"Pretrained with spanbert_jax {__version__}, run `{card.name}`, step {run.step:,} of "
        f"{config.training.num_steps:,}.{begun}\n\n```json\n{json.dumps(chosen, indent=2)}\n```"
    )


def _loading(config: dict[str, Any]) -> str:
    prefix = "Roberta" if config["model_type"] == "roberta" else "Bert"
    return (
        "## Loading\n\n```python\n"
        f"from transformers import AutoTokenizer, {prefix}ForMaskedLM\n\n"
        'tokenizer = AutoTokenizer.from_pretrained("PATH")\n'
        f'model = {prefix}ForMaskedLM.from_pretrained("PATH")\n```\n\n'
        f"`{prefix}Model`, `{prefix}ForQuestionAnswering` and the others load it too; heads that "
        "it lacks, Transformers initialises and says so."
    )


def _span_boundary(run: LoadedRun) -> str:
    model = run.pretrain_config.model
    return (
        "## Span-boundary head\n\n"
        "Transformers has no such head and passes over its tensors, "
        "`cls.pair_target_predictions.*` of model.safetensors. It predicts token i of a span from "
        "the last hidden states of the two tokens around the span and a row of "
        "`position_embeddings` "
        f"({model.max_boundary_offsets} x {model.boundary_offset_size}), by the token's offset in "
        "the span: all three one after the other, then twice linear, GELU and LayerNorm, then the "
        "token embedding and a bias. `spanbert import` reads it back."
    )


def _tokenizer(agreement: Agreement) -> str:
    if agreement.exact:
        return (
            "## Tokenizer\n\nGives the ids of the one that the model was trained with; compared on "
            f"{agreement.num_texts} texts."
        )
    return (
        "## Tokenizer\n\nRebuilt for Transformers from the one that the model was trained with: "
        f"it gives the same ids for {agreement.num_equal} of {agreement.num_texts} texts, others "
        "for the rest. The original's file lies beside it."
    )


def _licence(run: LoadedRun, card: Card) -> str:
    if card.imported is not None:
        return "## Licence\n\nThat of the weights that were imported."
    begun = (
        " and to the licence of the weights it began with" if run.pretrain_config.init_from else ""
    )
    return (
        "## Licence\n\nTo be chosen by whoever trained the model, with regard to its text"
        f"{begun}. spanbert_jax itself is under Apache-2.0."
    )

"""A model's sizes as others state them, in config.json or by the shapes of tensors, and back.

In: their config or tensors. Out: ModelConfig, without heads; and config.json for Transformers.
"""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from etils import epath

from spanbert_jax.config import ModelConfig
from spanbert_jax.errors import UserError
from spanbert_jax.training.run_folder import CONFIG_FILE
from spanbert_jax.weights.formats.json_file import read_json
from spanbert_jax.weights.names import BERT, FAIRSEQ, GOOGLE, HEADS, ROBERTA, Names
from spanbert_jax.weights.tensors import Tensors

_CONFIG_FILES = (CONFIG_FILE, "bert_config.json")
MODEL_TYPES = ("bert", "roberta")
# BERT's own, where nobody says how many there are.
_USUAL_HEAD_SIZE = 64

# theirs -> ours, where both mean the same. Without a default it must be stated.
_SAME = {
    "vocab_size": "vocab_size",
    "hidden_size": "hidden_size",
    "num_hidden_layers": "num_layers",
    "num_attention_heads": "num_heads",
    "intermediate_size": "mlp_size",
    "hidden_dropout_prob": "dropout_rate",
    "attention_probs_dropout_prob": "attention_dropout_rate",
    "layer_norm_eps": "layer_norm_epsilon",
    "initializer_range": "initializer_std",
}
_COUNTS = (*list(_SAME)[:5], "max_position_embeddings")
_RATES = tuple(list(_SAME)[5:])

# What must be so, where it is stated: our model knows nothing else.
_FIXED: dict[str, Any] = {
    "hidden_act": "gelu",
    "position_embedding_type": "absolute",
    "tie_word_embeddings": True,
    "is_decoder": False,
    "add_cross_attention": False,
    "is_encoder_decoder": False,
    "pruned_heads": {},
}


def read_foreign_config(source: epath.Path) -> tuple[dict[str, Any], str] | None:
    """The config.json in a folder or beside a file, and its path; None where there is none.

    Raises:
        UserError: it is no JSON object.
    """
    folder = source if source.is_dir() else source.parent
    for name in _CONFIG_FILES:
        if (path := folder / name).exists():
            return read_json(path), str(path)
    return None


def family_of(tensors: Tensors, config: Mapping[str, Any] | None, *, where: str) -> Names:
    """Whose names the tensors have.

    Raises:
        UserError: those of none that is known.
    """
    stated = (config or {}).get("model_type")
    if stated not in (None, *MODEL_TYPES):
        raise UserError(
            f"{where}: model_type must be {' or '.join(MODEL_TYPES)}, found {stated}; import a "
            "model of one of these architectures"
        )
    for names in (GOOGLE, BERT, ROBERTA):
        # RoBERTa without its prefix looks like BERT: what the config says decides.
        if stated in (None, _model_type(names)) and _knows(names, tensors):
            return FAIRSEQ if names is BERT and _is_of_fairseq(tensors) else names
    raise UserError(
        f"{tensors.where}: must hold the tensors of a {stated or 'BERT'} model, found none that "
        f"is named like its token embedding, but {', '.join(sorted(tensors)[:3])} ...; name a "
        "checkpoint of BERT, SpanBERT or RoBERTa"
    )


def _is_of_fairseq(tensors: Tensors) -> bool:
    """Whether BERT's tensors are as SpanBERT's training left them, its head and names included."""
    wrapped = any(re.match(r"(module\.|model\.)*decoder\.", name) for name in tensors)
    with_head = any("cls.pair_target_predictions." in name for name in tensors)
    return wrapped or with_head and any(name.endswith((".gamma", ".beta")) for name in tensors)


def _model_type(names: Names) -> str:
    return "roberta" if names is ROBERTA else "bert"


def _knows(names: Names, tensors: Tensors) -> bool:
    token_embedding = names.entries(ModelConfig())["encoder/embeddings/token_embedding"].tensors[0]
    return any(
        names.canonical(name) == token_embedding or names.copies.get(name) == token_embedding
        for name in tensors
    )


def model_from_config(config: Mapping[str, Any], *, names: Names, where: str) -> ModelConfig:
    """Sizes and rates of a Hugging Face or Google config.

    {"hidden_size": 768, "max_position_embeddings": 514, ...} of RoBERTa
    -> ModelConfig(hidden_size=768, max_positions=512, position_offset=2, num_segments=0, ...)

    Raises:
        UserError: a field is missing or of a value that our model has no place for; the field, its
            value and the rule are named.
    """
    for field, required in _FIXED.items():
        if config.get(field, required) != required:
            raise UserError(
                f"{where}: {field} must be {required!r}, found {config[field]!r}; models of "
                "another kind cannot be imported"
            )
    _check_types(config, where=where)
    values = {ours: config[theirs] for theirs, ours in _SAME.items() if theirs in config}
    # RoBERTa's first position is the row behind the one that its padding uses.
    padding = config.get("pad_token_id")
    if padding is not None and names is ROBERTA:
        _check_whole(config, "pad_token_id", at_least=0, where=where)
    offset = 0 if names is not ROBERTA else 2 if padding is None else padding + 1
    segments = config.get("type_vocab_size", 2)
    try:
        return ModelConfig(
            **values,
            max_positions=config["max_position_embeddings"] - offset,
            position_offset=offset,
            num_segments=0 if segments == 1 else segments,
            span_boundary_head=False,
        )
    except (UserError, TypeError) as error:
        raise UserError(f"{where}: its values must fit a model ({error}); restore it") from error


def _check_types(config: Mapping[str, Any], *, where: str) -> None:
    """Raise `UserError` for a size that is no whole number, or a rate that is no number."""
    for field in _COUNTS:
        _check_whole(config, field, at_least=1, where=where)
    if "type_vocab_size" in config:
        _check_whole(config, "type_vocab_size", at_least=1, where=where)
    for field in _RATES:
        value = config.get(field, 0.0)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise UserError(
                f"{where}: {field} must be a number, found {value!r}; restore the config that "
                "belongs to the model"
            )


def _check_whole(config: Mapping[str, Any], field: str, *, at_least: int, where: str) -> None:
    value = config.get(field)
    if isinstance(value, bool) or not isinstance(value, int) or value < at_least:
        found = "nothing" if value is None else repr(value)
        raise UserError(
            f"{where}: {field} must be a whole number of at least {at_least}, found {found}; "
            "import the model with the config that belongs to it"
        )


def model_from_shapes(tensors: Tensors, *, names: Names, num_heads: int | None) -> ModelConfig:
    """Sizes by the shapes of tensors, for checkpoints without a config.

    Raises:
        UserError: RoBERTa, or what may be one, whose shapes do not tell where its positions begin;
            or a tensor that tells a size is missing.
    """
    if names is ROBERTA or (names is BERT and _may_be_roberta(tensors)):
        raise UserError(
            f"{tensors.where}: RoBERTa, and a model of one segment whose names do not tell that it "
            f"is none, needs its {CONFIG_FILE}, found none beside it; put it there"
        )

    def rows(path: str) -> tuple[int, ...]:
        shape = _shape_of(path, tensors, names)
        if shape is None:
            raise UserError(
                f"{tensors.where}: without {CONFIG_FILE} the tensor of our {path} tells a size, "
                f"found none; put the model's {CONFIG_FILE} beside it"
            )
        return shape

    vocab_size, hidden_size = rows("encoder/embeddings/token_embedding")
    segments = rows("encoder/embeddings/segment_embedding")[0]
    (mlp_size,) = rows("encoder/layer_0/feed_forward/inner/bias")
    heads = num_heads or max(1, hidden_size // _USUAL_HEAD_SIZE)
    return ModelConfig(
        vocab_size=vocab_size,
        hidden_size=hidden_size,
        num_layers=num_layers_in(tensors, names),
        num_heads=heads,
        mlp_size=mlp_size,
        max_positions=rows("encoder/embeddings/position_embedding")[0],
        num_segments=0 if segments == 1 else segments,
        span_boundary_head=False,
    )


def _may_be_roberta(tensors: Tensors) -> bool:
    """Whether BERT's names may be RoBERTa's without their prefix: no heads, and one segment."""
    named = any(re.search(r"\bbert\.|\bcls\.", name) for name in tensors)
    shape = _shape_of("encoder/embeddings/segment_embedding", tensors, BERT)
    return not named and shape is not None and shape[0] == 1


def num_layers_in(tensors: Tensors, names: Names) -> int:
    """Layers that the names of the tensors count."""
    found = re.compile(r"\bencoder[./]layer[._](\d+)[./]")
    numbers = [int(m[1]) for name in tensors if (m := found.search(names.canonical(name)))]
    return 1 + max(numbers, default=-1)


def heads_in(tensors: Tensors, names: Names) -> set[str]:
    """The heads that a checkpoint holds, whole or in part."""
    known = {names.canonical(name) for name in tensors}
    return {
        path.split("/")[0]
        for path, entry in names.entries(ModelConfig()).items()
        if path.split("/")[0] in HEADS and any(tensor in known for tensor in entry.tensors)
    }


def with_heads(
    model: ModelConfig, tensors: Tensors, names: Names, *, pooler: bool, span_boundary_head: bool
) -> ModelConfig:
    """`model` with the heads that are asked for, of the sizes that the tensors have."""
    offsets = _shape_of("span_boundary_head/offset_embedding", tensors, names)
    sizes: dict[str, Any] = {} if offsets is None else dict(
        zip(("max_boundary_offsets", "boundary_offset_size"), offsets, strict=True)
    )  # fmt: skip
    return dataclasses.replace(
        model,
        pooler=pooler,
        next_sentence_head=pooler and "next_sentence_head" in heads_in(tensors, names),
        span_boundary_head=span_boundary_head,
        **sizes,
    )


def _shape_of(path: str, tensors: Tensors, names: Names) -> tuple[int, ...] | None:
    (tensor,) = names.entries(ModelConfig())[path].tensors
    return next((tensors.info(n).shape for n in tensors if names.canonical(n) == tensor), None)


def export_config(model: ModelConfig, *, pad_id: int, cls_id: int, sep_id: int) -> dict[str, Any]:
    """config.json for Transformers, which `model_from_config` reads back.

    A model whose positions have an offset is a RoBERTa.

    Raises:
        UserError: the offset is not the one that RoBERTa has by the id of its padding, or the
            encoder is none of BERT's.
    """
    if model.encoder != "bert":
        raise UserError(
            f"--model.encoder {model.encoder}: Transformers must have the model that is exported, "
            "and has none with these blocks and a span-boundary head; load the run's folder with "
            "spanbert_jax.load, or fine-tune from it"
        )
    names = exported_names(model)
    if names is ROBERTA and model.position_offset != pad_id + 1:
        raise UserError(
            f"--model.position-offset {model.position_offset}: Transformers' RoBERTa begins behind "
            f"the id of the padding, {pad_id} in this tokenizer, so at {pad_id + 1}; a model "
            "with other positions cannot be exported"
        )
    of_roberta = {"bos_token_id": cls_id, "eos_token_id": sep_id} if names is ROBERTA else {}
    of_bert = "BertForPreTraining" if model.next_sentence_head else "BertForMaskedLM"
    return {
        "architectures": ["RobertaForMaskedLM" if names is ROBERTA else of_bert],
        "model_type": _model_type(names),
        **{theirs: getattr(model, ours) for theirs, ours in _SAME.items()},
        "max_position_embeddings": model.max_positions + model.position_offset,
        "type_vocab_size": max(1, model.num_segments),
        "hidden_act": "gelu",
        "position_embedding_type": "absolute",
        "tie_word_embeddings": True,
        "pad_token_id": pad_id,
        **of_roberta,
        "dtype": "float32",
    }


def exported_names(model: ModelConfig) -> Names:
    """The family that a model of ours is exported as."""
    return ROBERTA if model.position_offset else BERT

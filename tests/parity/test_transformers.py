"""Models that go to Transformers and come from it compute there what they compute here."""

import numpy as np
import pytest
import torch
import transformers

from spanbert_jax.weights.importing import import_weights

TOLERANCE = {"rtol": 0, "atol": 1e-5}


def inputs_of(batch, pad_id: int = 0, **options) -> dict[str, torch.Tensor]:
    real = batch.document_ids > 0
    return {
        "input_ids": torch.tensor(np.where(real, batch.token_ids, pad_id)).long(),
        "attention_mask": torch.tensor(real).long(),
    } | options


def run(model, **inputs):
    with torch.no_grad():
        return model.eval()(**inputs, output_hidden_states=True)


def check_real_positions(batch, ours, theirs) -> None:
    """Equal where there is text; what stands at padding means nothing."""
    real = batch.document_ids > 0
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine[real], other.numpy()[real], **TOLERANCE)


def load(name: str, folder) -> tuple[torch.nn.Module, dict]:
    """The model of a class, and which keys it did not find."""
    model, found = getattr(transformers, name).from_pretrained(folder, output_loading_info=True)
    assert not found["mismatched_keys"]
    return model, found


@pytest.fixture
def span_bert(tokenizer, make_model, exported, random_batch, our_outputs):
    words = tokenizer("wordpiece")
    model = make_model(words, pooler=True, next_sentence_head=True)
    folder, params = exported(model, words)
    batch = random_batch(model)
    segments = {"token_type_ids": torch.tensor(batch.segment_ids).long()}
    return folder, params, batch, inputs_of(batch, **segments), our_outputs(model, params, batch)


@pytest.mark.parametrize(
    "name, missing, unexpected",
    [
        ("BertModel", set(), {"cls.predictions", "cls.seq_relationship"}),
        ("BertForMaskedLM", set(), {"bert.pooler", "cls.seq_relationship"}),
        ("BertForPreTraining", set(), set()),
        ("BertForQuestionAnswering", {"qa_outputs.weight", "qa_outputs.bias"},
         {"bert.pooler", "cls.predictions", "cls.seq_relationship"}),
    ],
)  # fmt: skip
def test_an_exported_span_bert_has_the_hidden_states_of_ours(span_bert, name, missing, unexpected):
    folder, _, batch, inputs, ours = span_bert
    model, found = load(name, folder)
    assert set(found["missing_keys"]) == missing
    left = {key for key in found["unexpected_keys"] if "pair_target_predictions" not in key}
    assert {".".join(key.split(".")[:2]) for key in left} == unexpected
    check_real_positions(batch, ours.hidden, run(model, **inputs).hidden_states)


def test_an_exported_span_bert_predicts_what_ours_does(span_bert):
    folder, params, batch, inputs, ours = span_bert
    theirs = run(load("BertForPreTraining", folder)[0], **inputs)
    check_real_positions(batch, [ours.mlm], [theirs.prediction_logits])
    np.testing.assert_allclose(
        ours.next_sentence, theirs.seq_relationship_logits.numpy(), **TOLERANCE
    )
    pooled = run(load("BertModel", folder)[0], **inputs).pooler_output.numpy()
    kernel, bias = params["pooler"]["kernel"], params["pooler"]["bias"]
    np.testing.assert_allclose(np.tanh(ours.hidden[-1][:, 0] @ kernel + bias), pooled, **TOLERANCE)


@pytest.mark.parametrize("name", ["RobertaModel", "RobertaForMaskedLM", "AutoModel"])
def test_an_exported_roberta_computes_what_ours_does(
    tokenizer, make_model, exported, random_batch, our_outputs, name
):
    words = tokenizer("byte-level")
    model = make_model(words, position_offset=2, num_segments=0, pooler=True)
    folder, params = exported(model, words)
    batch = random_batch(model)
    loaded, found = load(name, folder)
    assert not found["missing_keys"]
    theirs = run(loaded, **inputs_of(batch, pad_id=words.pad_id))
    ours = our_outputs(model, params, batch)
    check_real_positions(batch, ours.hidden, theirs.hidden_states)
    if name == "RobertaForMaskedLM":
        check_real_positions(batch, [ours.mlm], [theirs.logits])


def test_a_model_without_segments_is_a_bert_of_one_segment(
    tokenizer, make_model, exported, random_batch, our_outputs
):
    words = tokenizer("sentencepiece unigram")
    model = make_model(words, num_segments=0)
    folder, params = exported(model, words)
    batch = random_batch(model)
    theirs = run(load("BertForMaskedLM", folder)[0], **inputs_of(batch))
    ours = our_outputs(model, params, batch)
    check_real_positions(batch, [*ours.hidden, ours.mlm], [*theirs.hidden_states, theirs.logits])
    loaded = transformers.AutoTokenizer.from_pretrained(folder)
    assert "token_type_ids" not in loaded("a city", "a lake")


@pytest.mark.parametrize(
    "kind",
    [
        "wordpiece",
        "wordpiece lowercase",
        "sentencepiece unigram",
        "sentencepiece bpe",
        "byte-level",
    ],
)
def test_the_exported_tokenizer_gives_the_ids_of_ours(tokenizer, make_model, exported, texts, kind):
    words = tokenizer(kind)
    offset = {"position_offset": 2, "num_segments": 0} if kind == "byte-level" else {}
    folder, _ = exported(make_model(words, **offset), words)
    loaded = transformers.AutoTokenizer.from_pretrained(folder)
    for text in texts:
        ids = [words.cls_id, *words.encode(text), words.sep_id]
        assert loaded(text)["input_ids"] == ids
        masked = text.replace("the", loaded.mask_token)
        ids = [words.cls_id, *words.encode_with_masks(text.replace("the", "[MASK]")), words.sep_id]
        assert loaded(masked)["input_ids"] == ids
    assert (loaded.pad_token_id, loaded.unk_token_id) == (words.pad_id, words.unk_id)
    assert len(loaded) == words.vocab_size
    assert loaded.model_max_length == 24


def test_pairs_have_the_segments_of_pretraining(tokenizer, make_model, exported):
    words = tokenizer("wordpiece")
    folder, _ = exported(make_model(words), words)
    pair = transformers.AutoTokenizer.from_pretrained(folder)("The city", "a lake")
    first, second = words.encode("The city"), words.encode("a lake")
    assert pair["input_ids"] == [words.cls_id, *first, words.sep_id, *second, words.sep_id]
    assert pair["token_type_ids"] == [0] * (len(first) + 2) + [1] * (len(second) + 1)


def random_transformer(kind: type, config) -> torch.nn.Module:
    torch.manual_seed(0)
    model = kind(config)
    for name, parameter in model.named_parameters():
        torch.nn.init.normal_(parameter, float("LayerNorm.weight" in name), 0.2)
    return model


SIZES = {
    "vocab_size": 60, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4,
    "intermediate_size": 64, "max_position_embeddings": 26,
}  # fmt: skip


@pytest.mark.parametrize(
    "name, options",
    [
        ("Bert", {}),
        ("Roberta", {"type_vocab_size": 1, "layer_norm_eps": 1e-5}),
        ("Roberta", {"type_vocab_size": 2}),
    ],
)
@pytest.mark.parametrize("head", ["Model", "ForMaskedLM"])
def test_a_model_of_transformers_is_imported_to_the_last_figure(
    tmp_path, random_batch, our_outputs, name, options, head
):
    config = getattr(transformers, f"{name}Config")(**SIZES, **options)
    theirs = random_transformer(getattr(transformers, name + head), config)
    theirs.save_pretrained(tmp_path)
    imported = import_weights(tmp_path, with_tokenizer=False)
    assert not imported.matching.unused
    batch = random_batch(imported.model)
    segments = {"token_type_ids": torch.tensor(batch.segment_ids).long()}
    padding = 1 if name == "Roberta" else 0
    outputs = run(theirs, **inputs_of(batch, padding, **segments))
    ours = our_outputs(imported.model, imported.params, batch)
    check_real_positions(batch, ours.hidden, outputs.hidden_states)
    if head == "ForMaskedLM":
        check_real_positions(batch, [ours.mlm], [outputs.logits])

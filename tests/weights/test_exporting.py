"""A checkpoint as a folder for Transformers: what is written, that it reads back the same."""

import dataclasses
import json
from pathlib import Path

import jax
import numpy as np
import pytest

import spanbert_jax.__main__ as program
from spanbert_jax.corpus.tokenizers import load_tokenizer
from spanbert_jax.corpus.tokenizers.sentence_piece import train_sentencepiece
from spanbert_jax.errors import UserError
from spanbert_jax.model.layer_stack import stack_layers
from spanbert_jax.training.saved_run import load_run
from spanbert_jax.weights import exporting
from spanbert_jax.weights.importing import import_weights
from spanbert_jax.weights.model_card import Card
from spanbert_jax.weights.parameters import flatten
from spanbert_jax.weights.tensors import open_tensors
from spanbert_jax.weights.vocabulary import read_vocabulary


@pytest.fixture
def bert(model):
    return dataclasses.replace(model, pooler=True, next_sentence_head=True)


def run_export(checkpoint: Path, out: Path, *flags: str) -> int:
    return program.main(["export", str(checkpoint), "--out", str(out), *flags])


def test_a_checkpoint_becomes_a_folder_that_says_how_it_compares(tmp_path, bert, saved_run, capsys):
    out = tmp_path / "out"
    assert run_export(saved_run(bert), out) == 0
    printed = capsys.readouterr().out
    assert "56 tensors of step 7" in printed
    assert "largest difference of logits, read back: 0\n" in printed
    assert sorted(path.name for path in out.iterdir()) == [
        "README.md", "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
        "vocab.txt",
    ]  # fmt: skip
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "run"]


def test_export_and_import_give_the_same_arrays_heads_included(
    tmp_path, bert, saved_run, random_params, same
):
    run_export(saved_run(bert), tmp_path / "out")
    imported = import_weights(tmp_path / "out")
    assert imported.model == bert
    assert same(imported.params, random_params(bert))


@pytest.mark.parametrize("kind", ["bert", "span_bert", "roberta"])
def test_import_export_import_gives_the_same_arrays(tmp_path, request, released, same, kind):
    model = request.getfixturevalue("roberta" if kind == "roberta" else "bert")
    source = released(model, without="" if kind == "span_bert" else "pair_target")
    first = import_weights(source)
    assert program.main(["import", str(source), "--out", str(tmp_path / "run")]) == 0
    assert run_export(tmp_path / "run", tmp_path / "out") == 0
    assert same(import_weights(tmp_path / "out").params, first.params)


@pytest.mark.parametrize("kind", ["wordpiece", "sentencepiece", "byte-level"])
def test_an_exported_tokenizer_is_read_back_as_the_same(tmp_path, model, roberta, saved_run, kind):
    words = None
    if kind == "sentencepiece":
        texts = ["The city of Athens is the capital of Greece, and it was (then) quite big: 12 km."]
        words = train_sentencepiece(texts * 9, vocab_size=40, model_type="unigram")
    folder = saved_run(roberta if kind == "byte-level" else model, words=words)
    assert run_export(folder, tmp_path / "out") == 0
    before = load_tokenizer(folder / "tokenizer")
    after = read_vocabulary(
        tmp_path / "out", named="", lowercase=None, vocab_size=before.vocab_size
    )
    assert (before.kind, before.fingerprint) == (kind, after.fingerprint)


def test_the_file_says_that_it_is_for_pytorch_and_holds_the_head_under_its_first_names(
    tmp_path, bert, saved_run
):
    run_export(saved_run(bert), tmp_path / "out")
    with open_tensors(tmp_path / "out" / "model.safetensors") as tensors:
        assert "cls.pair_target_predictions.mlp_layer_norm.linear1.weight" in tensors
        assert "cls.predictions.transform.LayerNorm.weight" in tensors
    header = (tmp_path / "out" / "model.safetensors").read_bytes()[8:]
    assert b'"__metadata__":{"format":"pt"}' in header


def test_stacked_layers_are_exported_one_by_one(tmp_path, model, saved_run, random_params, same):
    run_export(saved_run(model, params=stack_layers(random_params(model))), tmp_path / "out")
    imported = import_weights(tmp_path / "out")
    assert same(imported.params["encoder"], random_params(model)["encoder"])


def test_the_card_tells_the_step_and_the_heads(tmp_path, bert, saved_run):
    run_export(saved_run(bert), tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    for part in (
        "run `run`, step 7 of", "2 layers of width 16", "BertForMaskedLM.from_pretrained",
        "cls.pair_target_predictions", "(4 x 6)", "## Licence", "205 texts",
    ):  # fmt: skip
        assert part in card
    assert str(tmp_path) not in card


def test_the_card_of_imported_weights_names_what_is_random(tmp_path, bert, released):
    source = released(bert, without="pair_target")
    program.main(["import", str(source), "--out", str(tmp_path / "run")])
    run_export(tmp_path / "run", tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    assert "Imported from bert weights" in card
    assert "Not trained, but random: span_boundary_head." in card


def test_the_step_can_be_chosen_and_must_be_kept(tmp_path, model, saved_run, capsys):
    run = saved_run(model)
    assert run_export(run, tmp_path / "out", "--step", "3") == 2
    assert "--step 3: must be a checkpoint" in capsys.readouterr().err
    assert run_export(run, tmp_path / "out", "--step", "7") == 0


def test_a_model_without_the_extra_heads_has_none_of_their_tensors(tmp_path, model, saved_run):
    model = dataclasses.replace(model, span_boundary_head=False)
    run_export(saved_run(model), tmp_path / "out")
    with open_tensors(tmp_path / "out" / "model.safetensors") as tensors:
        assert not [name for name in tensors if "pair" in name or "pooler" in name]
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["architectures"] == ["BertForMaskedLM"]
    assert "Span-boundary" not in (tmp_path / "out" / "README.md").read_text()


@pytest.mark.parametrize("stacked", [False, True])
def test_the_parameters_are_gone_when_the_files_are_read_again(
    tmp_path, model, saved_run, random_params, monkeypatch, stacked
):
    def import_and_look(*arguments, **options):
        deleted.extend(leaf.is_deleted() for leaf in leaves)
        return import_weights(*arguments, **options)

    params = random_params(model)
    folder = saved_run(model, params=stack_layers(params) if stacked else params)
    run, deleted = load_run(folder), []
    leaves = jax.tree.leaves(run.params)
    monkeypatch.setattr(exporting, "import_weights", import_and_look)
    tokenizer = load_tokenizer(folder / "tokenizer")
    exporting.export_run(tmp_path / "out", run, tokenizer, card=Card("run", None))
    assert deleted == [True] * len(leaves)


def test_what_reads_back_otherwise_is_an_error_and_leaves_nothing(
    tmp_path, model, saved_run, capsys, monkeypatch
):
    def damaged(path, tensors, metadata) -> None:
        name = "bert.encoder.layer.1.output.dense.weight"
        write(path, {**tensors, name: -tensors[name]}, metadata)

    write = exporting.write_safetensors
    monkeypatch.setattr(exporting, "write_safetensors", damaged)
    assert run_export(saved_run(model), tmp_path / "out") == 2
    assert "must give the logits of the checkpoint, found them to differ: vocabulary by" in (
        capsys.readouterr().err
    )
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("value", [np.nan, -np.inf])
@pytest.mark.parametrize(
    "path",
    [
        "mlm_head/bias", "span_boundary_head/bias", "next_sentence_head/bias", "pooler/bias",
        "encoder/layer_1/feed_forward/inner/bias", "encoder/embeddings/position_embedding",
    ],
)  # fmt: skip
def test_parameters_that_are_not_finite_are_not_exported(
    tmp_path, bert, saved_run, random_params, capsys, path, value
):
    params = random_params(bert)
    dict(flatten(params))[path][-1] = value
    assert run_export(saved_run(bert, params=params), tmp_path / "out") == 2
    assert f"must hold finite parameters, found NaN or infinity in {path}; export an earlier" in (
        capsys.readouterr().err
    )
    assert [each.name for each in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("head", ["mlm", "span_boundary", "next_sentence"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_logits_that_are_not_finite_do_not_pass_for_equal(head, value):
    ours = {name: np.ones((2, 3)) for name in ("mlm", "span_boundary", "next_sentence")}
    theirs = dict(ours)
    assert exporting._difference(ours, theirs) == 0.0
    broken = np.full((2, 3), value)
    for pair in ((ours | {head: broken}, theirs), (ours, theirs | {head: broken})):
        with pytest.raises(UserError, match="must give the logits of the checkpoint"):
            exporting._difference(*pair)


def test_a_folder_that_holds_something_is_not_written_over(tmp_path, model, saved_run, capsys):
    assert run_export(saved_run(model), tmp_path) == 2
    assert "must be a new or empty folder" in capsys.readouterr().err

"""Released weights to a checkpoint of ours: what is read, what is refused, what is written."""

import dataclasses
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import spanbert_jax
import spanbert_jax.__main__ as program
from spanbert_jax.config.weights import ImportConfig
from spanbert_jax.corpus.tokenizers import load_tokenizer
from spanbert_jax.errors import UserError
from spanbert_jax.training.run_folder import read_config
from spanbert_jax.training.saved_run import load_run
from spanbert_jax.weights import importing
from spanbert_jax.weights.importing import import_weights
from spanbert_jax.weights.matching import tensors_from
from spanbert_jax.weights.names import GOOGLE
from spanbert_jax.weights.vocabulary import read_vocabulary


@pytest.fixture
def bert(model):
    return dataclasses.replace(model, pooler=True, next_sentence_head=True)


def test_a_released_model_is_read_bit_for_bit(bert, released, random_params, same):
    imported = import_weights(released(bert))
    assert imported.model == bert
    assert imported.matching.summary() == "weights: 56 of 56 matched"
    assert same(imported.params, random_params(bert))


def test_roberta_is_read_bit_for_bit(roberta, released, random_params, same):
    imported = import_weights(released(roberta))
    assert imported.model == roberta
    assert same(imported.params, random_params(roberta))


def test_heads_that_are_missing_begin_at_random(bert, released):
    imported = import_weights(released(bert, without="pair_target"))
    head = imported.params["span_boundary_head"]
    assert imported.matching.initialised == {"span_boundary_head": 10}
    assert imported.model.max_boundary_offsets == 15
    assert 0.01 < np.std(head["offset_embedding"]) < 0.03
    assert not np.any(head["bias"]) and np.all(head["transform_0"]["layer_norm"]["scale"] == 1.0)


def test_another_seed_begins_missing_heads_otherwise(bert, released):
    folder = released(bert, without="pooler")
    kernels = [
        import_weights(folder, options=ImportConfig(seed=seed)).params["pooler"]["kernel"]
        for seed in (0, 0, 1)
    ]
    assert np.array_equal(kernels[0], kernels[1])
    assert not np.array_equal(kernels[0], kernels[2])


def test_heads_that_are_not_wanted_are_left_behind(bert, released):
    options = ImportConfig(pooler=False, span_boundary_head=False)
    imported = import_weights(released(bert), options=options)
    assert set(imported.params) == {"encoder", "mlm_head"}
    assert len(imported.matching.unused) == 14


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"num_hidden_layers": 1}, "num_hidden_layers must be the number of .*, 2, found 1"),
        ({"num_hidden_layers": 3}, "num_hidden_layers must be the number of .*, 2, found 3"),
        ({"vocab_size": 41}, r"word_embeddings.weight .* shape \(41, 16\) .* found \(40, 16\)"),
        ({"intermediate_size": 64}, r"intermediate.dense.bias .* shape \(64,\) .* found \(32,\)"),
        ({"hidden_act": "relu"}, "hidden_act must be 'gelu'"),
    ],
)  # fmt: skip
def test_a_config_that_disagrees_with_its_tensors_is_refused(bert, released, changed, message):
    with pytest.raises(UserError, match=message):
        import_weights(released(bert, **changed))


def test_the_number_of_heads_cannot_be_stated_twice(bert, released):
    with pytest.raises(UserError, match="--num-heads 2: must be the 4 that .*config.json states"):
        import_weights(released(bert), options=ImportConfig(num_heads=2))


def test_a_folder_of_tensorflow_has_its_config_under_another_name(
    bert, released, random_params, same
):
    folder = released(bert)
    (folder / "config.json").rename(folder / "bert_config.json")
    (folder / "model.safetensors").unlink()
    tensors = dict(tensors_from(random_params(bert), names=GOOGLE, model=bert))
    tensors |= {f"{name}/adam_m": array for name, array in tensors.items()}
    tensors["global_step"] = np.zeros((), np.int64)
    tensors["beta1_power"] = np.ones((), np.float32)
    names, arrays = list(tensors), list(map(tf.constant, tensors.values()))
    tf.raw_ops.SaveV2(
        prefix=str(folder / "bert_model.ckpt"), tensor_names=names,
        shape_and_slices=[""] * len(names), tensors=arrays,
    )  # fmt: skip
    imported = import_weights(folder)
    assert imported.names is GOOGLE
    assert imported.matching.summary() == "weights: 56 of 56 matched"
    assert same(imported.params, random_params(bert))


def test_weights_without_a_config_tell_their_sizes(tmp_path, bert, released, random_params, same):
    file = tmp_path / "model.safetensors"
    (released(bert) / "model.safetensors").rename(file)
    options = ImportConfig(num_heads=4, tokenizer=str(tmp_path / "released"))
    imported = import_weights(file, options=options)
    assert imported.model == bert
    assert same(imported.params, random_params(bert))


def test_the_vocabulary_must_have_as_many_entries_as_the_model(bert, released, vocabulary):
    folder = released(bert)
    vocabulary(folder, size=39)
    with pytest.raises(UserError, match="as many entries .* rows, 40, found 39"):
        read_vocabulary(folder, named="", lowercase=None, vocab_size=40)


@pytest.mark.parametrize(
    "cased, config, flag, lowercases",
    [
        (True, None, None, False),
        (False, None, None, True),
        (True, {"do_lower_case": True}, None, True),
        (False, {"do_lower_case": False}, None, False),
        (False, {"model_max_length": 512}, None, True),
        (True, {"do_lower_case": False}, True, True),
    ],
)
def test_case_is_as_stated_or_else_as_the_vocabulary_looks(
    tmp_path, vocabulary, cased, config, flag, lowercases
):
    vocabulary(tmp_path, cased=cased)
    if config is not None:
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    tokenizer = read_vocabulary(tmp_path, named="", lowercase=flag, vocab_size=40)
    ids = tokenizer.encode("The")
    assert (ids == tokenizer.encode("the")) is lowercases


@pytest.mark.parametrize("name", ["vocab.txt", "tokenizer_config.json"])
def test_a_vocabulary_or_its_config_that_is_not_utf_8_is_an_error(tmp_path, vocabulary, name):
    vocabulary(tmp_path)
    (tmp_path / name).write_bytes(b'{"name": "caf\xe9"}')
    with pytest.raises(UserError, match=f"{name}: .*UTF-8"):
        read_vocabulary(tmp_path, named="", lowercase=None, vocab_size=40)


def test_weights_without_a_vocabulary_say_where_it_belongs_and_how_to_give_it(bert, released):
    folder = released(bert)
    (folder / "vocab.txt").unlink()
    for place in (folder, folder / "model.safetensors"):
        with pytest.raises(UserError) as error:
            spanbert_jax.load(place)
        message = str(error.value)
        assert message.startswith(f"{place}: the vocabulary of the weights must lie beside them")
        assert f"{folder} holds none of *.model" in message
        assert f"`spanbert import {place} --tokenizer VOCABULARY --out DIR`" in message


def test_weights_that_were_given_a_vocabulary_load(tmp_path, bert, released, vocabulary):
    folder = released(bert)
    (folder / "vocab.txt").rename(tmp_path / "words.txt")
    out = tmp_path / "out"
    assert run_import(folder, out, "--tokenizer", str(tmp_path / "words.txt")) == 0
    assert spanbert_jax.load(out).tokenizer.vocab_size == bert.vocab_size


def run_import(source: Path, out: Path, *flags: str) -> int:
    return program.main(["import", str(source), "--out", str(out), *flags])


def test_the_command_writes_what_a_run_leaves(
    tmp_path, bert, released, random_params, same, capsys
):
    folder, out = released(bert), tmp_path / "out"
    assert run_import(folder, out) == 0
    assert "weights: 56 of 56 matched" in capsys.readouterr().out
    run = load_run(out)
    assert (run.step, run.config.model) == (0, bert)
    assert read_config(out) == run.config
    assert same(run.params, random_params(bert))
    tokenizer = load_tokenizer(out / "tokenizer")
    run.check_tokenizer(tokenizer.fingerprint)
    assert tokenizer.encode("The cat") == load_tokenizer(folder).encode("The cat")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "released"]


def test_the_imported_model_fills_in_masks(tmp_path, bert, released, capsys):
    out = tmp_path / "out"
    run_import(released(bert), out)
    assert program.main(["predict", "fill", "--checkpoint", str(out), "The [MASK] sat"]) == 0
    assert "span boundary" in capsys.readouterr().out


def test_a_head_that_began_at_random_has_no_say_when_masks_are_filled_in(
    tmp_path, bert, released, capsys
):
    out = tmp_path / "out"
    run_import(released(bert, without="pair_target"), out)
    assert program.main(["predict", "fill", "--checkpoint", str(out), "The [MASK] sat"]) == 0
    assert "trained without the span-boundary objective" in capsys.readouterr().out


def test_masks_are_not_filled_in_by_a_random_head(tmp_path, bert, released, capsys):
    out = tmp_path / "out"
    run_import(released(bert, without="cls."), out)
    capsys.readouterr()
    assert program.main(["predict", "fill", "--checkpoint", str(out), "The [MASK] sat"]) == 2
    assert "needs a trained masked language head" in capsys.readouterr().err


def test_pretraining_does_not_go_on_in_an_imported_folder(tmp_path, bert, released, capsys):
    out = tmp_path / "out"
    run_import(released(bert), out)
    config = str(Path(__file__).resolve().parents[2] / "configs" / "quickstart.py")
    capsys.readouterr()
    assert program.main(["pretrain", config, "--workdir", str(out)]) == 2
    assert f"start from them with --init-from {out}" in capsys.readouterr().err


def test_a_folder_that_holds_something_is_not_written_over(tmp_path, bert, released, capsys):
    assert run_import(released(bert), tmp_path) == 2
    assert "must be a new or empty folder, found one that holds files" in capsys.readouterr().err


def test_a_disk_without_room_is_found_before_anything_is_written(
    tmp_path, bert, released, capsys, monkeypatch
):
    folder = released(bert)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(9, 8, 1))
    assert run_import(folder, tmp_path / "out") == 2
    printed = capsys.readouterr().err
    assert re.search("out: must have room for .* bytes, found 1 free; make room there", printed)
    assert [path.name for path in tmp_path.iterdir()] == ["released"]


def test_a_full_disk_is_an_error_and_leaves_nothing(tmp_path, bert, released):
    folder, out = released(bert), tmp_path / "out"
    script = f"""
import resource
from spanbert_jax.__main__ import main
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 14, 1 << 14))
raise SystemExit(main(["import", {str(folder)!r}, "--out", {str(out)!r}]))
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert run.returncode == 2
    # Orbax prints about its threads, before and behind.
    assert re.search("spanbert: error: .* that can be written.*File too large", run.stderr)
    assert [path.name for path in tmp_path.iterdir()] == ["released"]


def test_no_array_is_read_before_the_vocabulary_fits(bert, released, vocabulary, monkeypatch):
    folder = released(bert)
    vocabulary(folder, size=39)
    monkeypatch.setattr(importing, "read", lambda *_: pytest.fail("arrays were read"))
    with pytest.raises(UserError, match="found 39"):
        import_weights(folder)


def test_nothing_is_left_where_the_vocabulary_does_not_fit(tmp_path, bert, released, vocabulary):
    folder = released(bert)
    vocabulary(folder, size=39)
    assert run_import(folder, tmp_path / "out") == 2
    assert [path.name for path in tmp_path.iterdir()] == ["released"]


def test_a_vocabulary_can_lie_elsewhere(tmp_path, bert, released, vocabulary):
    folder = released(bert)
    (folder / "vocab.txt").rename(tmp_path / "vocab.txt")
    assert run_import(folder, tmp_path / "out") == 2
    assert run_import(folder, tmp_path / "out", "--tokenizer", str(tmp_path / "vocab.txt")) == 0

"""A run's folder: written before anything else, and true to what it began with."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from etils import epath

from spanbert_jax.config import LengthPhase, PretrainConfig
from spanbert_jax.errors import UserError
from spanbert_jax.training.run_folder import (
    check_resumable,
    claim,
    describe_changes,
    prove_writable,
    read_config,
)


@pytest.fixture
def tokenizer_file(tmp_path: Path) -> epath.Path:
    path = tmp_path / "made.model"
    path.write_bytes(b"\x00pieces")
    return epath.Path(path)


@pytest.fixture
def run_dir(tmp_path: Path, tokenizer_file: epath.Path, config: PretrainConfig) -> Path:
    claim(tmp_path / "runs" / "a", config, tokenizer_file=tokenizer_file)
    return tmp_path / "runs" / "a"


def changed(config: PretrainConfig, section: str, **fields: Any) -> PretrainConfig:
    part = dataclasses.replace(getattr(config, section), **fields)
    return dataclasses.replace(config, **{section: part})


def test_a_claimed_folder_holds_config_and_tokenizer_and_nothing_else(
    run_dir: Path, config: PretrainConfig
) -> None:
    files = {str(path.relative_to(run_dir)) for path in run_dir.rglob("*") if path.is_file()}
    assert files == {"config.json", "tokenizer/made.model"}
    assert read_config(run_dir) == config
    assert (run_dir / "tokenizer" / "made.model").read_bytes() == b"\x00pieces"


def test_claiming_again_keeps_the_newer_config(
    run_dir: Path, tokenizer_file: epath.Path, config: PretrainConfig
) -> None:
    longer = changed(config, "training", num_steps=777)
    claim(run_dir, longer, tokenizer_file=tokenizer_file)
    assert read_config(run_dir) == longer


def test_a_folder_that_cannot_be_written_is_an_error_that_names_it(
    tmp_path: Path, tokenizer_file: epath.Path, config: PretrainConfig
) -> None:
    (tmp_path / "file").write_text("no folder")
    below = tmp_path / "file" / "run"
    with pytest.raises(UserError) as error:
        claim(below, config, tokenizer_file=tokenizer_file)
    assert str(error.value).startswith(f"--workdir {below}: must be a folder that can be written, ")
    assert str(error.value).endswith("; choose another, or mend its permissions")


def test_where_there_is_no_run_there_is_no_config_and_any_run_may_begin(
    tmp_path: Path, config: PretrainConfig
) -> None:
    (tmp_path / "file").write_text("no folder")
    for folder in (tmp_path, tmp_path / "new", tmp_path / "file" / "run"):
        assert read_config(folder) is None
        check_resumable(folder, config)


def test_a_run_may_not_change_its_model_or_masking(run_dir: Path, config: PretrainConfig) -> None:
    with pytest.raises(UserError) as error:
        check_resumable(run_dir, changed(config, "model", num_layers=3))
    assert str(error.value) == (
        f"{run_dir}: a run goes on with the model, masking and blocks it began with, found changed "
        "--model.num-layers from 1 to 3; put it back, or start a new run in another --workdir"
    )
    both = changed(changed(config, "model", dropout_rate=0.0), "masking", mask_ratio=0.2)
    with pytest.raises(UserError, match=r"mask-ratio from 0\.15 to 0\.2; put them back") as error:
        check_resumable(run_dir, both)
    assert "--model.dropout-rate from 0.1 to 0.0, --masking.mask-ratio" in str(error.value)


def test_a_run_may_not_change_what_a_row_holds(run_dir: Path, config: PretrainConfig) -> None:
    other = changed(config, "data", blocks="sentence_pair", batch_size=16)
    with pytest.raises(UserError, match="changed --data.blocks from document to sentence_pair; "):
        check_resumable(run_dir, other)
    other = changed(config, "data", over_long_sentences="original")
    with pytest.raises(UserError, match="--data.over-long-sentences from split to original; put"):
        check_resumable(run_dir, other)


def test_changed_phases_are_listed_as_they_are_typed(run_dir: Path, config: PretrainConfig) -> None:
    other = changed(config, "data", phases=(LengthPhase(9, 8, 16), LengthPhase(7, 12)))
    check_resumable(run_dir, other)
    said = "changed since the run was last started: --data.phases from nothing to 9:8:16 7:12"
    assert describe_changes(run_dir, other) == said


@pytest.mark.parametrize(
    ("section", "fields"),
    [
        ("compute", {"dtype": "bfloat16", "remat": "full", "scan_layers": True}),
        ("optimizer", {"learning_rate": 1e-5}),
        ("data", {"batch_size": 16, "shards": "/elsewhere"}),
        ("training", {"num_steps": 200}),
        ("mesh", {"fsdp": 8}),
    ],
)
def test_a_run_may_change_how_it_is_computed_optimized_and_fed(
    section: str, fields: dict[str, Any], run_dir: Path, config: PretrainConfig
) -> None:
    other = changed(config, section, **fields)
    assert other != config
    check_resumable(run_dir, other)


def test_what_a_run_may_change_is_listed_and_the_rest_is_not(
    run_dir: Path, config: PretrainConfig
) -> None:
    assert describe_changes(run_dir, config) == ""
    assert describe_changes(run_dir / "new", config) == ""
    other = changed(changed(config, "training", seed=4), "mesh", fsdp=8)
    assert describe_changes(run_dir, dataclasses.replace(other, workdir="moved")) == (
        "changed since the run was last started: --training.seed from 3 to 4, "
        "--mesh.fsdp from 1 to 8"
    )


def test_a_host_proves_that_it_can_write_and_leaves_nothing(tmp_path: Path) -> None:
    prove_writable(tmp_path, by="process-3")
    assert list(tmp_path.iterdir()) == []
    # As root no folder is closed to tests: what cannot be a file stands in its place.
    (tmp_path / ".written-by-process-3").mkdir()
    with pytest.raises(
        UserError, match="--workdir .*: must be a folder that can be written, found"
    ):
        prove_writable(tmp_path, by="process-3")

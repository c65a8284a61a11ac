"""A run whose newest checkpoint is damaged, as a user meets it: the program as a process."""

import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

from spanbert_jax.training.saved_run import load_run
from spanbert_jax.training.saved_step import DamagedCheckpoint


def flip_a_parameter(checkpoint: Path) -> None:
    """One bit that is part of a parameter: which file holds it is the storage's choice."""
    run, step = checkpoint.parents[1], int(checkpoint.name)
    files = checkpoint.glob("state/**/d/*")
    for file in sorted(files, key=lambda path: path.stat().st_size, reverse=True):
        content = file.read_bytes()
        for place in range(100, len(content), max(1, len(content) // 10)):
            altered = bytearray(content)
            altered[place] ^= 1
            file.write_bytes(bytes(altered))
            try:
                load_run(run, step=step)
            except DamagedCheckpoint as damage:
                if damage.found.startswith("state: "):
                    return
            file.write_bytes(content)
    pytest.fail("no bit that was tried is one of a parameter")


def test_a_finished_run_whose_last_checkpoint_is_damaged_ends_once_more_bit_for_bit(
    finished, tiny: Path, spanbert
) -> None:
    run = Path(shutil.copytree(tiny / "run", tiny / "damaged_run"))
    flip_a_parameter(run / "checkpoints" / "400")
    command = ("pretrain", "tiny.py:tiny", "--workdir", run.name)

    refused = spanbert("predict", "fill", "--checkpoint", run.name, "The [MASK] bridge.", cwd=tiny)
    assert refused.returncode == 2
    assert "checkpoints/400: must be a checkpoint as it was saved, found it" in refused.stderr
    assert "Traceback" not in refused.stderr

    again = spanbert(*command, cwd=tiny)
    assert again.returncode == 0, again.stderr
    assert "the checkpoint of step 400 is damaged (state: " in again.stderr
    assert "going on from the checkpoint of step 300" in again.stderr
    assert (run / "damaged" / "400" / "state").is_dir()
    expected, actual = load_run(tiny / "run"), load_run(run)
    assert actual.step == expected.step == 400
    jax.tree.map(np.testing.assert_array_equal, actual.params, expected.params)
    steps = [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    once = [json.loads(x)["step"] for x in (tiny / "run/metrics.jsonl").read_text().splitlines()]
    assert steps == once

    for step in ("300", "400"):
        flip_a_parameter(run / "checkpoints" / step)
    for step in run.joinpath("checkpoints").iterdir():
        if step.name not in ("300", "400"):
            shutil.rmtree(step)
    none = spanbert(*command, cwd=tiny)
    assert none.returncode == 2
    assert "found all of them damaged (step 400: state: " in none.stderr

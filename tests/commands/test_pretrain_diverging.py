"""A run whose numbers cease to be numbers, as a user meets it: the program as a process."""

import re
import shutil
from pathlib import Path

import jax
import numpy as np

from spanbert_jax.training.saved_run import load_run


def test_a_run_that_diverges_names_the_module_and_keeps_the_checkpoint_from_before(
    finished, tiny: Path, spanbert
) -> None:
    """A learning rate beyond all bounds: after the first update the model overflows."""
    run = Path(shutil.copytree(tiny / "run", tiny / "diverging"))
    diverged = spanbert(
        "pretrain", "tiny.py:tiny", "--workdir", run.name, "--training.num-steps", "420",
        "--training.max-skipped-steps", "3", "--optimizer.learning-rate", "1e30", cwd=tiny,
    )  # fmt: skip
    assert diverged.returncode == 2, diverged.stderr
    assert "Traceback" not in diverged.stderr
    *_, error = diverged.stderr.splitlines()
    said = re.match(
        "spanbert: error: --training.max-skipped-steps 3: so many steps in a row must not be "
        r"skipped, found that from step 402 to (\d+) no gradient was finite; the first module "
        "whose output is not finite is (.*?); the newest checkpoint, of step 400, is from before: "
        "go on from there with a lower --optimizer.learning-rate",
        error,
    )
    assert said, error
    assert said[2].startswith("encoder/")
    # Skipped steps are told as they come, too.
    assert f"step {said[1]}/420 · loss nan" in diverged.stderr
    assert "goodput " in diverged.stderr

    before, kept = load_run(tiny / "run"), load_run(run)
    assert kept.step == before.step == 400
    jax.tree.map(np.testing.assert_array_equal, kept.params, before.params)

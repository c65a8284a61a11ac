"""A pretraining is planned before it is paid for, and not where nobody asks for that."""

import shutil
from pathlib import Path

import pytest

RUN = ("tpu_vm/run.sh",)
XPK = ("gke/xpk.sh", "--cluster", "pods", "--image", "spanbert:1")
COMMAND = ("--", "spanbert", "pretrain", "configs/pretrain.py:spanbert_base", "--seed", "a b")


def planned(cloud) -> list[str]:
    path = cloud.folder / "planned"
    return path.read_text().splitlines() if path.exists() else []


@pytest.mark.parametrize("script", [RUN, XPK], ids=lambda words: words[0])
def test_plan_has_the_flags_of_the_run_and_the_type_of_its_slice(cloud, script):
    done = cloud.run(*script, *COMMAND)
    assert done.returncode == 0, done.stderr
    assert planned(cloud) == [
        "plan", "configs/pretrain.py:spanbert_base", "--seed", "a b", "--topology", "v5litepod-64",
    ]  # fmt: skip
    # Relative names are of the code.
    assert Path((cloud.folder / "planned_in").read_text().strip()) == cloud.checkout


@pytest.mark.parametrize("script", [RUN, XPK], ids=lambda words: words[0])
@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("3", "the step does not fit on v5litepod-64"),
        ("2", "spanbert plan ended with 2; mend what"),
    ],
)
def test_what_does_not_fit_or_cannot_be_planned_is_not_paid_for(cloud, script, code, message):
    cloud.write(plan_ends=code)
    done = cloud.run(*script, *COMMAND)
    assert done.returncode == 2 and message in done.stderr and "--skip-plan" in done.stderr
    assert not cloud.calls("create") and not (cloud.folder / "xpk").exists()
    assert cloud.run(*script, "--skip-plan", *COMMAND).returncode == 0
    assert cloud.calls("create") or (cloud.folder / "xpk").exists()


def test_other_commands_and_several_slices_are_not_planned(cloud):
    assert cloud.run(*XPK, "--", "spanbert", "finetune", "x").returncode == 0
    done = cloud.run(*XPK, "--num-slices", "2", *COMMAND)
    assert done.returncode == 0 and "no plan: spanbert plan knows single slices" in done.stderr
    assert planned(cloud) == []


def test_other_commits_than_the_one_that_is_here_are_not_planned(cloud):
    older = cloud.commit()
    cloud.git("commit", "--quiet", "--allow-empty", "--message", "Newer")
    try:
        done = cloud.run(*RUN, "--ref", older, *COMMAND)
    finally:
        cloud.git("reset", "--quiet", "--hard", older)
    assert done.returncode == 0 and f"no plan: the hosts get --ref {older}" in done.stderr
    assert planned(cloud) == []


def test_pod_that_is_there_is_not_planned_again(cloud):
    cloud.write(plan="0\n0\n")
    assert cloud.run(*RUN, *COMMAND).returncode == 0
    (cloud.folder / "planned").unlink()
    assert cloud.run(*RUN, *COMMAND).returncode == 0
    assert planned(cloud) == []


def test_dry_run_shows_the_plan_and_makes_none(cloud):
    for script in (RUN, XPK):
        done = cloud.run(*script, "--dry-run", *COMMAND)
        assert done.returncode == 0, done.stderr
        line = (
            "+ spanbert plan configs/pretrain.py:spanbert_base --seed a\\ b --topology v5litepod-64"
        )
        assert line in done.stdout.splitlines()
    assert planned(cloud) == []


def test_without_the_program_it_is_said_how_to_get_it(cloud, tmp_path):
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("bash", "dirname", "git", "sed", "tr", "gcloud", "awk", "grep"):
        found = shutil.which(name, path=cloud.environment()["PATH"])
        (tools / name).symlink_to(found)
    done = cloud.run(*XPK, *COMMAND, PATH=str(tools))
    assert done.returncode == 2 and "pip install -e '.[plan]', or --skip-plan" in done.stderr

"""launch/README.md: its figures, its flags and its files are what they are said to be."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "launch/README.md").read_text(encoding="utf-8")
SHELL = re.findall(r"```bash\n(.*?)```", README, re.DOTALL)


def test_costs_are_what_their_snippet_prints():
    [snippet] = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    [printed] = re.findall(r"```\n(\d.*?)```", README, re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", snippet], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == printed


@pytest.mark.parametrize("block", SHELL)
def test_commands_are_whole(block):
    done = subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_files_that_are_named_exist():
    linked = re.findall(r"\]\(([^)]+)\)", README)
    for name in [name for name in linked if "://" not in name]:
        assert (ROOT / "launch" / name).is_file(), name
    for name in re.findall(r"launch/[\w/]+\.\w+", README):
        assert (ROOT / name).is_file(), name


def test_flags_of_our_scripts_are_parameters_of_theirs():
    text = (ROOT / "launch/tpu_vm/parameters.sh").read_text()
    parameters = set(re.findall(r'^: "\$\{(\w+):=', text, re.MULTILINE))
    lines = [line for block in SHELL for line in block.splitlines() if "launch/tpu_vm/" in line]
    flags = {flag for line in lines for flag in re.findall(r" --([a-z-]+)", line)}
    # In the prose, those of gcloud and of the program stand in longer lines of code.
    flags |= set(
        re.findall(r"`--((?:ref|ssh-by|num-slices|capacity|valid-until-duration))", README)
    )
    assert flags and {flag.upper().replace("-", "_") for flag in flags} <= parameters
    assert f"did not answer {re.search('MAX_UNREACHABLE:=([0-9]+)', text)[1]} times" in README


def test_table_of_troubles_quotes_what_the_scripts_say():
    scripts = "".join(path.read_text() for path in (ROOT / "launch/tpu_vm").glob("*.sh"))
    quoted = re.findall(r"^\| `([^`]+)`", README.partition("## When something breaks")[2], re.M)
    said = {
        "the request spanbert is FAILED": "the request $TPU_NAME is $1",
        "is WAITING_FOR_RESOURCES": "$TPU_NAME is $state",
        "did not answer 30 times": "did not answer $MAX_UNREACHABLE times",
        "15 of 16 hosts of spanbert answered": "$answers of $HOSTS hosts of $TPU_NAME answered",
        "commit them, or name a --ref": "commit them, or name a --ref",
        "given bad input": "given bad input",
        "crashed 4 times in a row": "crashed $crashes times in a row",
        "the hosts run something else": "the hosts run something else",
    }
    others = {
        "SSH Key is not present in the SSH agent",
        "The TPU is already in use",
    }  # of gcloud, of libtpu
    assert set(quoted) == said.keys() | others
    assert all(words in scripts for words in said.values())

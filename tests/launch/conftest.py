"""A cloud of folders, and the scripts of launch/ in a checkout of their own."""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

LAUNCH = Path(__file__).resolve().parents[2] / "launch"
STAND_INS = Path(__file__).resolve().parent / "stand_ins"

# Of the commits of the checkout; the machine may know no name.
AUTHOR = {
    f"GIT_{role}_{field}": value
    for role in ("AUTHOR", "COMMITTER")
    for field, value in (("NAME", "Ada"), ("EMAIL", "ada@example.com"))
}


# Words that a shell would take for something else, on its way through two of them.
AWKWARD = [
    "two words", "it's", 'a "quote"', "$HOME", "$(touch made)", "`touch made`", "*", "~", "a;b|c&d",
    "back\\slash", "", "  two  blanks  ", "line\nbreak", "--flag=a b", "#no comment", "!", "ü",
]  # fmt: skip


@dataclass
class Cloud:
    """What tests/launch/stand_ins/gcloud keeps, and the scripts that ask it."""

    folder: Path
    checkout: Path

    def git(self, *words: str) -> str:
        return subprocess.run(
            ["git", *words], cwd=self.checkout, env=os.environ | AUTHOR, check=True, text=True,
            capture_output=True,
        ).stdout.strip()  # fmt: skip

    def commit(self) -> str:
        return self.git("rev-parse", "HEAD")

    def environment(self) -> dict[str, str]:
        # No parameter of whoever runs the tests may reach the scripts.
        return {
            "PATH": f"{STAND_INS}:{os.environ['PATH']}",
            "HOME": os.environ["HOME"],
            "CLOUD": str(self.folder),
            "ZONE": "us-central1-a",
            "POLL_SECONDS": "0",
        }

    def start(self, script: str, *words: str, **variables: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [self.checkout / "launch" / script, *words], env=self.environment() | variables,
            cwd=self.checkout, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, script: str, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        with self.start(script, *words, **variables) as process:
            out, err = process.communicate(timeout=120)
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    def on_host(self, host: Path, *words: str) -> str:
        """What the script on a host says, without the way to it."""
        return subprocess.run(
            ["bash", host / "spanbert/on_host.sh", *words], text=True, check=True,
            env=self.environment() | {"HOME": str(host), "HOST": host.name}, capture_output=True,
        ).stdout  # fmt: skip

    def write(self, **files: str) -> None:
        for name, text in files.items():
            (self.folder / name).write_text(text)

    def state(self) -> str:
        path = self.folder / "state"
        return path.read_text().strip() if path.exists() else "MISSING"

    def calls(self, verb: str = "") -> list[list[str]]:
        """The words of every call of gcloud behind `gcloud compute tpus VERB`, in their order."""
        path = self.folder / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        return [call[2:] for call in map(json.loads, lines) if " ".join(call[2:4]).endswith(verb)]

    def hosts(self) -> list[Path]:
        return sorted((self.folder / "hosts").iterdir())

    def attempts(self) -> list[int]:
        """How often each host that there ever was began the command."""
        return [len(path.read_text().split()) for path in sorted(self.folder.glob("attempts.*"))]


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with launch/ as it is here, whatever of it is committed."""
    folder = tmp_path_factory.mktemp("checkout")
    shutil.copytree(LAUNCH, folder / "launch", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "setup.py").write_text("# of the first commit\n")
    repository = Cloud(folder, folder)
    repository.git("init", "--quiet")
    repository.git("add", ".")
    repository.git("commit", "--quiet", "--message", "First")
    return folder


@pytest.fixture
def cloud(tmp_path: Path, checkout: Path) -> Cloud:
    cloud = Cloud(tmp_path / "cloud", checkout)
    (cloud.folder / "hosts").mkdir(parents=True)
    cloud.write(plan="0\n")
    return cloud


@pytest.fixture(scope="session")
def awkward_words() -> list[str]:
    return AWKWARD

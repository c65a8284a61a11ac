"""The batch script of Slurm: its request, its processes, when the job goes back to the queue."""

import os
import re
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "launch/slurm/pretrain.sbatch"
STAND_INS = Path(__file__).resolve().parent / "stand_ins/slurm"


@dataclass
class Cluster:
    """A job of two nodes with two GPUs each, whose lives are told by `plan`, a line a life."""

    folder: Path

    def start(self, *words: str) -> subprocess.Popen[str]:
        # As Slurm does: a copy of the script, in the folder where it was submitted.
        environment = {
            "PATH": f"{STAND_INS}:{os.environ['PATH']}", "CLUSTER": str(self.folder),
            "SLURM_JOB_ID": "17", "SLURM_SUBMIT_DIR": str(self.folder),
            "SLURM_NTASKS_PER_NODE": "2", "SLURM_CPUS_PER_TASK": "3", "REQUEUE_SECONDS": "0",
        }  # fmt: skip
        return subprocess.Popen(
            ["bash", SCRIPT, *words], cwd=self.folder, env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        with self.start(*words) as process:
            out, err = process.communicate(timeout=60)
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    def requeued(self) -> int:
        path = self.folder / "scontrol"
        lines = path.read_text().splitlines() if path.exists() else []
        assert set(lines) <= {"requeue 17"}
        return len(lines)


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path)


@pytest.mark.parametrize(
    ("codes", "code", "requeued"),
    [
        ("0 0 0 0", 0, 0),
        ("75 75 75 75", 75, 1),
        ("0 75 75 0", 75, 1),
        ("2 2 2 2", 2, 0),
        ("130 75 75 75", 130, 0),
        # Bad input outweighs what it did to the others.
        ("75 1 2 75", 2, 0),
        ("1 1 1 1", 1, 1),
    ],
)
def test_exit_codes_decide_whether_the_job_goes_back_to_the_queue(cluster, codes, code, requeued):
    (cluster.folder / "plan").write_text(f"{codes}\n")
    done = cluster.run("spanbert", "pretrain")
    assert (done.returncode, cluster.requeued()) == (code, requeued), done.stderr


def test_crash_is_seen_behind_the_lost_contact_of_the_others(cluster):
    (cluster.folder / "plan").write_text("75 1 75 75\n")
    done = cluster.run("spanbert", "pretrain")
    assert "crash 1 of at most 3 in a row" in done.stdout
    assert re.search(r"exit code 1 on \S+, process 1", done.stderr)


def test_crashes_in_a_row_end_the_job(cluster):
    (cluster.folder / "plan").write_text("1\n139\n137\n1\n")
    ends = [cluster.run("spanbert", "pretrain") for _ in range(4)]
    assert cluster.requeued() == 3
    assert ends[-1].returncode == 1 and "crashed 4 times in a row" in ends[-1].stderr
    assert not list(cluster.folder.glob(".spanbert-crashes*"))


def test_saving_and_stopping_ends_a_row_of_crashes(cluster):
    (cluster.folder / "plan").write_text("1\n1\n1\n75\n1\n1\n1\n0\n")
    ends = [cluster.run("spanbert", "pretrain") for _ in range(8)]
    assert ends[-1].returncode == 0 and cluster.requeued() == 7


def test_every_process_gets_the_words_as_they_are(cluster, awkward_words):
    (cluster.folder / "plan").write_text("0 0 0 0\n")
    assert cluster.run("spanbert", *awkward_words).returncode == 0
    for process in range(4):
        text = (cluster.folder / f"words.{process}").read_text()
        assert text.split("\0")[:-1] == awkward_words


def test_process_for_every_gpu_sees_all_of_its_node(cluster):
    (cluster.folder / "plan").write_text("0 0 0 0\n")
    cluster.run("spanbert", "pretrain")
    flags = (cluster.folder / "flags").read_text().split()
    assert {"--ntasks-per-node=2", "--cpus-per-task=3", "--gpu-bind=none"} <= set(flags)
    # One that ends first must not take the others along while they save.
    assert "--kill-on-bad-exit=0" in flags


def test_job_that_is_preempted_or_cancelled_saves_and_is_left_to_slurm(cluster):
    (cluster.folder / "plan").write_text("hang hang\n")
    (cluster.folder / "is_ending").touch()
    with cluster.start("spanbert", "pretrain") as script:
        pids = [cluster.folder / f"pid.{process}" for process in range(2)]
        for _ in range(300):
            if all(pid.exists() and pid.read_text() for pid in pids):
                break
            time.sleep(0.1)
        script.send_signal(signal.SIGTERM)
        for pid in pids:
            os.kill(int(pid.read_text()), signal.SIGTERM)
        out, err = script.communicate(timeout=60)
    assert script.returncode == 75, err
    # Slurm puts back what it has preempted, and would put back what is cancelled, were it asked.
    assert cluster.requeued() == 0
    assert "job 17 is COMPLETING: what becomes of it is Slurm's to say" in out


def test_request_asks_for_a_warning_and_a_second_life():
    text = SCRIPT.read_text()
    head, _, body = text.partition("set -euo pipefail")
    assert "#SBATCH" not in body  # sbatch reads none behind the first command
    asked = dict(re.findall(r"^#SBATCH --([a-z-]+)=?(.*)$", head, re.MULTILINE))
    assert asked["signal"] == "TERM@300" and "requeue" in asked
    assert asked["open-mode"] == "append" and asked["output"] == "%x-%j.log"
    assert asked["ntasks-per-node"] == asked["gpus-per-node"]


def test_job_without_a_command_is_refused(cluster):
    done = cluster.run()
    assert done.returncode == 2 and "no command" in done.stderr and cluster.requeued() == 0

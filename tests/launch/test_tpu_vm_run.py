"""A command on a pod: how it gets there, what is started again, what outlives what."""

import dataclasses
import os
import shutil
import signal
import time
from collections.abc import Callable

import pytest

COMMAND = ("--", "spanbert", "pretrain", "configs/pretrain.py:spanbert_base")


def wait_for(condition: Callable[[], object], what: str) -> None:
    for _ in range(300):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError(f"waited 30 seconds for {what}")


def test_command_reaches_every_host_word_for_word(cloud, awkward_words):
    done = cloud.run("tpu_vm/run.sh", "--num-slices", "2", "--", "spanbert", *awkward_words)
    assert done.returncode == 0, done.stderr
    for host in cloud.hosts():
        assert (host / "words").read_text().split("\0")[:-1] == awkward_words
        # Relative names, such as those of configs/, are of the code.
        assert (host / "folder").read_text().strip() == str(host / "spanbert/code")
        assert (host / "platforms").read_text().strip() == "tpu,cpu"
        assert not list(host.rglob("made"))


@pytest.mark.parametrize(
    ("plan", "code", "attempts"),
    [
        ("0", 0, 1),
        # Saved and stopped: however often.
        ("75\n75\n75\n0", 0, 4),
        # Bad input and Ctrl-C: never.
        ("2", 2, 1),
        ("130", 130, 1),
        ("75 2\n0", 2, 1),
        # Crashes: so many in a row, and 75 ends a row.
        ("1\n1\n0", 0, 3),
        ("1\n139\n137\n0", 1, 3),
        ("1\n1\n75\n1\n1\n0", 0, 6),
        # One host crashed and the other lost contact with it: that is a crash.
        ("1 75\n75 134\n75 1\n0", 1, 3),
    ],
)
def test_exit_codes_decide_whether_the_command_is_started_again(cloud, plan, code, attempts):
    cloud.write(plan=plan)
    done = cloud.run("tpu_vm/run.sh", "--max-crashes", "2", *COMMAND)
    assert done.returncode == code, done.stderr
    assert cloud.attempts() == [attempts, attempts]
    assert len(cloud.calls("create")) == 1


def test_preempted_pod_is_replaced_and_the_same_commit_goes_on(cloud):
    cloud.write(plan="preempt\n0\n")
    done = cloud.run("tpu_vm/run.sh", *COMMAND)
    assert done.returncode == 0, done.stderr
    verbs = [call[1] for call in cloud.calls() if call[1] in ("create", "delete", "scp")]
    assert verbs == ["create", "scp", "delete", "create", "scp"]
    assert cloud.attempts() == [2, 2]
    commit = cloud.commit()
    assert {(host / "spanbert/code/COMMIT").read_text().strip() for host in cloud.hosts()} == {
        commit
    }


def test_preempted_vm_counts_although_its_request_is_still_active(cloud):
    cloud.write(state="ACTIVE", nodes="PREEMPTED", refused_ssh="1")
    for name in ("0-0", "0-1"):
        (cloud.folder / "hosts" / name).mkdir()
    done = cloud.run("tpu_vm/run.sh", *COMMAND)
    assert done.returncode == 0, done.stderr
    assert "was preempted" in done.stderr
    assert len(cloud.calls("delete")) == 1 and len(cloud.calls("create")) == 1


def test_slice_of_several_that_is_gone_is_not_done_without(cloud):
    cloud.write(plan="hang\n0\n")
    with cloud.start("tpu_vm/run.sh", "--num-slices", "2", *COMMAND) as process:
        wait_for(lambda: len(list(cloud.folder.rglob("hangs"))) == 4, "the command")
        cloud.write(nodes="PREEMPTED")
        for host in cloud.hosts():
            cloud.on_host(host, "stop", "60")
        _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert "2 of 4 hosts of spanbert answered" in err and "was preempted" in err
    assert cloud.attempts() == [2, 2, 2, 2] and len(cloud.calls("create")) == 2


def test_pod_after_a_preemption_gets_the_commit_of_the_run_and_not_a_newer_one(cloud, tmp_path):
    shutil.copytree(cloud.checkout, tmp_path / "own")
    cloud = dataclasses.replace(cloud, checkout=tmp_path / "own")
    commit = cloud.commit()
    cloud.write(plan="hang\n0\n")
    with cloud.start("tpu_vm/run.sh", *COMMAND) as process:
        wait_for(lambda: len(list(cloud.folder.rglob("hangs"))) == 2, "the command")
        (cloud.checkout / "setup.py").write_text("# of the second commit\n")
        cloud.git("commit", "--quiet", "--all", "--message", "Second")
        cloud.write(state="SUSPENDED")
        for host in cloud.hosts():
            cloud.on_host(host, "stop", "60")
        _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    for host in cloud.hosts():
        assert (host / "spanbert/code/COMMIT").read_text().strip() == commit != cloud.commit()
        assert (host / "spanbert/code/setup.py").read_text() == "# of the first commit\n"


def test_run_begins_with_a_new_pod_where_the_old_one_was_taken_back(cloud):
    cloud.write(state="SUSPENDING", coming="SUSPENDING SUSPENDED")
    done = cloud.run("tpu_vm/run.sh", *COMMAND)
    assert done.returncode == 0, done.stderr
    assert [call[1] for call in cloud.calls() if call[1] in ("create", "delete")] == [
        "delete", "create",
    ]  # fmt: skip


def test_pod_that_somebody_deleted_is_not_requested_again(cloud):
    cloud.write(plan="hang\n")
    with cloud.start("tpu_vm/run.sh", *COMMAND) as process:
        wait_for(lambda: len(list(cloud.folder.rglob("hangs"))) == 2, "the command")
        cloud.write(state="MISSING")
        _, err = process.communicate(timeout=60)
    for host in cloud.hosts():
        cloud.on_host(host, "stop", "60")
    assert process.returncode == 1 and "spanbert was deleted" in err
    assert len(cloud.calls("create")) == 1


def test_lost_connection_is_tried_again(cloud):
    assert cloud.run("tpu_vm/create.sh").returncode == 0
    assert cloud.run("tpu_vm/setup.sh").returncode == 0
    cloud.write(refused_ssh="3")
    done = cloud.run("tpu_vm/run.sh", *COMMAND)
    assert done.returncode == 0, done.stderr
    assert len(cloud.calls("create")) == 1


def test_hosts_that_never_answer_end_the_wait_but_not_the_pod(cloud):
    assert cloud.run("tpu_vm/create.sh").returncode == 0
    cloud.write(refused_ssh="99")
    done = cloud.run("tpu_vm/run.sh", "--max-unreachable", "3", *COMMAND)
    assert done.returncode == 1 and "did not answer 3 times" in done.stderr
    assert cloud.calls("delete") == []


def test_hosts_that_outlive_the_others_are_stopped_before_the_next_attempt(cloud):
    cloud.write(plan="75 hang\n0\n")
    done = cloud.run("tpu_vm/run.sh", "--straggler-seconds", "1", *COMMAND)
    assert done.returncode == 0, done.stderr
    assert "stopping those" in done.stderr
    assert "saved" in (cloud.hosts()[1] / "spanbert/run/log").read_text()
    assert cloud.attempts() == [2, 2]


def starts(cloud) -> list[list[str]]:
    return [call for call in cloud.calls("ssh") if "on_host.sh start" in call[-1]]


def test_command_outlives_the_script_and_the_same_line_looks_after_it_again(cloud):
    cloud.write(plan="hang\n0\n")
    with cloud.start("tpu_vm/run.sh", *COMMAND) as process:
        wait_for(lambda: len(list(cloud.folder.rglob("hangs"))) == 2, "the command")
        process.kill()
    other = cloud.run("tpu_vm/run.sh", "--", "spanbert", "evaluate", "run")
    assert other.returncode == 2 and "run something else" in other.stderr
    assert cloud.attempts() == [1, 1]
    with cloud.start("tpu_vm/run.sh", "--poll-seconds", "1", *COMMAND) as again:
        wait_for(lambda: len(starts(cloud)) == 3, "the same line")
        assert cloud.run("tpu_vm/stop.sh").returncode == 0
        again.communicate(timeout=60)
    assert again.returncode == 0
    assert cloud.attempts() == [2, 2]
    assert len(cloud.calls("create")) == 1 and len(cloud.calls("scp")) == 1


def test_code_is_not_replaced_under_a_running_command(cloud):
    cloud.write(plan="hang\n0\n")
    with cloud.start("tpu_vm/run.sh", *COMMAND) as process:
        wait_for(lambda: len(list(cloud.folder.rglob("hangs"))) == 2, "the command")
        done = cloud.run("tpu_vm/setup.sh")
        assert done.returncode == 1 and "stop.sh first" in done.stderr
        assert cloud.run("tpu_vm/stop.sh").returncode == 0
        process.communicate(timeout=60)
    assert process.returncode == 0


def test_host_that_died_with_its_command_is_lost_and_not_running(cloud):
    assert cloud.run("tpu_vm/create.sh").returncode == 0
    assert cloud.run("tpu_vm/setup.sh").returncode == 0
    host = cloud.hosts()[0]

    def state() -> list[str]:
        return cloud.on_host(host, "status").split()[2:]

    assert state() == ["idle"]
    cloud.write(plan="hang\n")
    cloud.on_host(host, "start", "spanbert", "pretrain")
    wait_for((host / "hangs").exists, "the command")
    assert state() == ["running"]
    # Its session, as when the machine goes down: nobody is left to write an exit code.
    os.killpg(os.getsid(int((host / "spanbert/run/pid").read_text())), signal.SIGKILL)
    wait_for(lambda: state() == ["lost"], "its end")
    # The number of the process may be somebody else's by now; the lock is not.
    (host / "spanbert/run/pid").write_text(str(os.getpid()))
    assert state() == ["lost"]
    cloud.write(plan="0\n0\n")
    cloud.on_host(host, "start", "spanbert", "pretrain")
    wait_for(lambda: state() == ["exited", "0"], "the second attempt")


def test_run_without_a_command_is_refused(cloud):
    done = cloud.run("tpu_vm/run.sh")
    assert done.returncode == 2 and "no command" in done.stderr

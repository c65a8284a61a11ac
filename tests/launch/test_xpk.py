"""The recipe of xpk: what it is asked for, and the command as its container gets it."""

import pytest

FLAGS = ("--cluster", "pods", "--image", "spanbert:1")
# Of `xpk workload create` in xpk 1.16.
KNOWN = {
    "--cluster", "--zone", "--project", "--workload", "--tpu-type", "--num-slices",
    "--docker-image", "--max-restarts", "--restart-on-exit-codes",
    "--termination-grace-period-seconds", "--command",
}  # fmt: skip


def test_workload_is_asked_for_with_our_exit_codes(cloud):
    done = cloud.run("gke/xpk.sh", *FLAGS, "--project-id", "mine", "--", "spanbert", "pretrain")
    assert done.returncode == 0, done.stderr
    verb, noun, *flags = (cloud.folder / "xpk").read_text().splitlines()
    assert (verb, noun) == ("workload", "create")
    asked = dict(flag.partition("=")[::2] for flag in flags)
    assert asked.keys() == KNOWN
    assert asked["--restart-on-exit-codes"] == "1,75"  # bad input, 2, is not among them
    assert asked["--tpu-type"] == "v5litepod-64" and asked["--docker-image"] == "spanbert:1"
    assert "xpk workload delete --cluster=pods" in done.stderr


def test_command_reaches_the_shell_of_the_container_word_for_word(cloud, awkward_words):
    assert cloud.run("gke/xpk.sh", *FLAGS, "--", *awkward_words).returncode == 0
    assert (cloud.folder / "words").read_text().split("\0")[:-1] == awkward_words


def test_dry_run_prints_the_command_and_does_nothing(cloud):
    done = cloud.run("gke/xpk.sh", *FLAGS, "--dry-run", "--", "spanbert", "a b")
    assert done.returncode == 0 and done.stdout.startswith("+ xpk workload create --cluster=pods")
    assert not (cloud.folder / "xpk").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--image", "i", "--", "spanbert"], "--cluster is not set"),
        (["--cluster", "c", "--", "spanbert"], "--image is not set"),
        ([*FLAGS], "no command"),
        ([*FLAGS, "--tpu", "x", "--", "spanbert"], "--tpu is no flag of xpk.sh; use one of"),
    ],
)
def test_missing_or_unknown_flag_is_refused(cloud, words, message):
    done = cloud.run("gke/xpk.sh", *words)
    assert done.returncode == 2 and message in done.stderr
    assert not (cloud.folder / "xpk").exists()

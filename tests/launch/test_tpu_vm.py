"""The scripts around gcloud: what they ask for, what reaches the hosts, what they refuse."""

import dataclasses
import re
import shutil
import subprocess
from pathlib import Path

import pytest

COMMAND = ("--", "spanbert", "pretrain", "configs/pretrain.py:spanbert_base")


def flags_of(call: list[str]) -> dict[str, str]:
    return dict(word.partition("=")[::2] for word in call if word.startswith("--"))


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ([], {"--node-id": "spanbert", "--accelerator-type": "v5litepod-64", "--async": ""}),
        (["--num-slices=2"], {"--node-count": "2", "--node-prefix": "spanbert"}),
        (["--valid-until-duration", "12h"], {"--valid-until-duration": "12h"}),
        (["--project-id", "mine"], {"--project": "mine", "--zone": "us-central1-a"}),
        (["--service-account", "a@b"], {"--service-account": "a@b"}),
    ],
)
def test_request_says_what_the_parameters_say(cloud, flags, expected):
    done = cloud.run("tpu_vm/create.sh", *flags)
    assert done.returncode == 0, done.stderr
    [call] = cloud.calls("create")
    assert call[2] == "spanbert"
    assert flags_of(call).items() >= expected.items()


@pytest.mark.parametrize(
    ("capacity", "flags"),
    [("spot", {"--spot"}), ("reserved", {"--reserved"}), ("on-demand", set())],
)
def test_capacity_is_asked_for_by_one_flag_or_none(cloud, capacity, flags):
    assert cloud.run("tpu_vm/create.sh", "--capacity", capacity).returncode == 0
    [call] = cloud.calls("create")
    assert {"--spot", "--reserved"} & flags_of(call).keys() == flags


def test_creating_waits_until_the_pod_is_there_and_says_how_far_it_is(cloud):
    cloud.write(coming="WAITING_FOR_RESOURCES WAITING_FOR_RESOURCES PROVISIONING ACTIVE")
    done = cloud.run("tpu_vm/create.sh")
    assert re.findall("is ([A-Z_]+)\n", done.stderr) == [
        "WAITING_FOR_RESOURCES", "PROVISIONING", "ACTIVE",
    ]  # fmt: skip


def test_creating_again_waits_for_the_same_request(cloud):
    cloud.write(state="WAITING_FOR_RESOURCES", coming="PROVISIONING ACTIVE")
    assert cloud.run("tpu_vm/create.sh").returncode == 0
    assert cloud.calls("create") == []


@pytest.mark.parametrize(
    ("state", "meaning"), [("FAILED", "no quota"), ("SUSPENDED", "never get others")]
)
def test_request_without_a_future_names_its_cause_and_the_remedy(cloud, state, meaning):
    cloud.write(coming=f"PROVISIONING {state}", cause="zone has no v5e")
    done = cloud.run("tpu_vm/create.sh")
    assert done.returncode == 1
    assert f"the request spanbert is {state}: zone has no v5e" in done.stderr
    assert meaning in done.stderr and "delete.sh" in done.stderr


def test_every_host_gets_the_same_commit_and_nothing_else(cloud):
    assert cloud.run("tpu_vm/create.sh", "--num-slices", "2").returncode == 0
    done = cloud.run("tpu_vm/setup.sh")
    assert done.returncode == 0, done.stderr
    commit = cloud.commit()
    assert len(cloud.hosts()) == 4
    for host in cloud.hosts():
        assert (host / "spanbert/code/COMMIT").read_text().strip() == commit
        assert (host / "spanbert/code/setup.py").read_text() == "# of the first commit\n"
        assert not (host / "spanbert/code/.git").exists()
        installed = (host / "installed").read_text()
        assert "--editable ./code\\[tpu\\]" in installed and "--python 3.12 venv" in installed


def test_changes_without_a_commit_are_refused_since_hosts_would_not_get_them(cloud, tmp_path):
    shutil.copytree(cloud.checkout, tmp_path / "changed")
    changed = dataclasses.replace(cloud, checkout=tmp_path / "changed")
    (changed.checkout / "setup.py").write_text("# changed\n")
    assert cloud.run("tpu_vm/create.sh").returncode == 0
    done = changed.run("tpu_vm/setup.sh")
    assert done.returncode == 2 and "commit them, or name a --ref" in done.stderr
    assert cloud.calls("scp") == []
    first = changed.commit()
    assert changed.run("tpu_vm/setup.sh", "--ref", first).returncode == 0
    unknown = changed.run("tpu_vm/setup.sh", "--ref", "nothing")
    assert unknown.returncode == 2 and "--ref nothing is no commit" in unknown.stderr


def test_watching_shows_states_exit_codes_and_the_log_of_the_first_host(cloud):
    cloud.write(plan="2\n")
    assert cloud.run("tpu_vm/watch.sh").returncode == 1
    assert cloud.run("tpu_vm/run.sh", *COMMAND).returncode == 2
    done = cloud.run("tpu_vm/watch.sh", "--log-lines", "1")
    assert done.returncode == 0, done.stderr
    assert "queued resource spanbert: ACTIVE\nTPU VMs: 1 READY\n" in done.stdout
    assert done.stdout.count("exited 2") == 2
    assert done.stdout.splitlines()[-1].endswith("exit code 2")
    assert {"--node=0", "--worker=0"} <= set(cloud.calls("ssh")[-1])


def test_deleting_takes_the_vms_too_and_nothing_where_there_is_none(cloud):
    assert cloud.run("tpu_vm/create.sh").returncode == 0
    assert cloud.run("tpu_vm/delete.sh").returncode == 0
    assert cloud.state() == "MISSING"
    again = cloud.run("tpu_vm/delete.sh")
    assert again.returncode == 0 and "there is no spanbert" in again.stderr
    assert len(cloud.calls("delete")) == 1


@pytest.mark.parametrize(
    "script", ["create.sh", "setup.sh", "run.sh", "watch.sh", "stop.sh", "delete.sh"]
)
def test_dry_run_prints_every_command_and_does_none(cloud, script):
    words = [*COMMAND[:2], "a b"] if script == "run.sh" else []
    done = cloud.run(f"tpu_vm/{script}", "--dry-run", *words)
    assert done.returncode == 0, done.stderr
    assert cloud.calls() == []
    printed = [line for line in done.stdout.splitlines() if line.startswith("+ gcloud ")]
    verbs = [line.split()[5] for line in printed]
    assert (
        verbs
        == {
            "create.sh": ["list", "create", "list"],
            "setup.sh": ["scp", "ssh"],
            "run.sh": ["list", "delete", "list", "create", "list", "scp", "ssh", "ssh", "ssh"],
            "watch.sh": ["list", "list", "ssh", "ssh"],
            "stop.sh": ["ssh"],
            "delete.sh": ["list", "delete"],
        }[script]
    )


def test_printed_commands_can_be_pasted(cloud, awkward_words):
    done = cloud.run("tpu_vm/run.sh", "--dry-run", "--", "spanbert", *awkward_words)
    [start] = [line for line in done.stdout.splitlines() if "on_host.sh\\ start" in line]
    words = subprocess.run(
        ["bash", "-c", f"printf '%s\\0' {start[2:]}"], capture_output=True, text=True, check=True
    ).stdout.split("\0")
    [command] = [word for word in words if word.startswith("--command=")]
    inner = command.partition("start ")[2]
    reached = subprocess.run(
        ["bash", "-c", f"printf '%s\\0' {inner}"], capture_output=True, text=True, check=True
    ).stdout.split("\0")[:-1]
    assert reached == ["spanbert", *awkward_words]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--zone", ""], "--zone is not set; use one of: gcloud compute tpus locations list"),
        (["--capacity", "cheap"], "--capacity cheap is not one of spot, reserved, on-demand"),
        (["--ssh-by", "bus"], "--ssh-by bus is not one of external-ip, internal-ip, iap"),
        (["--num-slices", "0"], "--num-slices 0 must be at least 1; use --num-slices 1"),
        (["--poll-seconds", "x"], "--poll-seconds x must be a whole number"),
        (["--zones", "a"], "--zones is no flag of create.sh; use one of --project-id --zone"),
        (["--zone"], "--zone needs a value: --zone VALUE"),
    ],
)
def test_wrong_parameter_is_refused_by_its_name(cloud, words, message):
    done = cloud.run("tpu_vm/create.sh", *words)
    assert done.returncode == 2 and message in done.stderr
    assert cloud.calls() == []


@pytest.mark.parametrize(
    ("by", "flag"), [("internal-ip", "--internal-ip"), ("iap", "--tunnel-through-iap")]
)
def test_hosts_without_an_external_address_are_reached_too(cloud, by, flag):
    done = cloud.run("tpu_vm/run.sh", *COMMAND, SSH_BY=by)
    assert done.returncode == 0, done.stderr
    assert all(flag in call for call in cloud.calls("ssh") + cloud.calls("scp"))


@pytest.mark.parametrize("script", sorted((Path(__file__).parents[2] / "launch").glob("*/*.sh")))
def test_help_is_the_comment_on_top(cloud, script: Path):
    if script.name in ("parameters.sh", "on_host.sh"):  # sourced; called by the others
        assert "\n#" in script.read_text()
        return
    done = cloud.run(f"{script.parent.name}/{script.name}", "--help")
    assert done.returncode == 0
    assert done.stdout.startswith(script.read_text().splitlines()[1].removeprefix("# "))
    assert f"launch/{script.parent.name}/{script.name}" in done.stdout

"""The manifests of GKE by the schemas of Kubernetes, and what becomes of a pod's exit code."""

import contextlib
import io
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
RENDER = ROOT / "launch/gke/render.py"
main = runpy.run_path(str(RENDER))["main"]

COMMAND = ["spanbert", "pretrain", "configs/pretrain.py:spanbert_base", "--workdir", "gs://b/run"]
TPU = ["tpu", "--name", "base", "--image", "region/project/spanbert:1"]
GPU = ["gpu", "--name", "base", "--image", "region/project/spanbert:1"]
KINDS = [
    pytest.param(TPU, id="slice"),
    pytest.param([*TPU, "--num-slices", "4", "--spot"], id="multislice"),
    pytest.param([*TPU, "--topology", "2x2"], id="host"),
    pytest.param(GPU, id="node"),
    pytest.param([*GPU, "--num-nodes", "4", "--spot"], id="nodes"),
]

# JobSet's fields, of jobset.x-k8s.io/v1alpha2 as of 0.10; True: checked as of another API, or free.
JOBSET: dict[str, Any] = {
    "apiVersion": True,
    "kind": True,
    "metadata": True,
    "spec": {
        "replicatedJobs": [
            {"name": True, "groupName": True, "template": True, "replicas": True, "dependsOn": True}
        ],
        "network": {
            "enableDNSHostnames": True,
            "subdomain": True,
            "publishNotReadyAddresses": True,
        },
        "successPolicy": {"operator": True, "targetReplicatedJobs": True},
        "failurePolicy": {
            "maxRestarts": True,
            "restartStrategy": True,
            "rules": [
                {
                    "name": True,
                    "action": True,
                    "onJobFailureReasons": True,
                    "onJobFailureMessagePatterns": True,
                    "targetReplicatedJobs": True,
                }
            ],
        },
        "suspend": True,
        "coordinator": {"replicatedJob": True, "jobIndex": True, "podIndex": True},
        "managedBy": True,
        "ttlSecondsAfterFinished": True,
    },
}


def render(*words: str) -> subprocess.CompletedProcess[str]:
    """As a process would: the same words, output and exit code."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(list(words))
        except SystemExit as end:
            code = int(end.code or 0)
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())


def manifest(*words: str) -> dict[str, Any]:
    done = render(*words)
    assert done.returncode == 0, done.stderr
    return yaml.safe_load(done.stdout)


def job_of(jobset: dict[str, Any]) -> dict[str, Any]:
    [replicated] = jobset["spec"]["replicatedJobs"]
    return {
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "base-slice-0"},
        **replicated["template"],
    }  # fmt: skip


def container_of(jobset: dict[str, Any]) -> dict[str, Any]:
    [container] = job_of(jobset)["spec"]["template"]["spec"]["containers"]
    return container


def unknown_fields(value: Any, known: Any, path: str = "") -> list[str]:
    if known is True:
        return []
    if isinstance(known, list):
        return [bad for i, each in enumerate(value) for bad in unknown_fields(each, known[0], path)]
    return [f"{path}.{name}" for name in value.keys() - known.keys()] + [
        bad
        for name in value.keys() & known.keys()
        for bad in unknown_fields(value[name], known[name], f"{path}.{name}")
    ]


# The first one whose Jobs have a stable podFailurePolicy, and the newest one.
@pytest.mark.parametrize("version", ["1.31", kubernetes_validate.latest_version()])
@pytest.mark.parametrize("words", KINDS)
def test_job_and_pod_are_what_kubernetes_knows(words, version):
    kubernetes_validate.validate(job_of(manifest(*words, "--", *COMMAND)), version, strict=True)


def test_schema_would_notice_a_field_that_kubernetes_does_not_know():
    job = job_of(manifest(*TPU, "--", *COMMAND))
    job["spec"]["template"]["spec"]["terminationGraceSeconds"] = 1
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(job, "1.33", strict=True)


@pytest.mark.parametrize("words", KINDS)
def test_every_field_is_one_of_jobset(words):
    jobset = manifest(*words, "--", *COMMAND)
    assert (jobset["apiVersion"], jobset["kind"]) == ("jobset.x-k8s.io/v1alpha2", "JobSet")
    assert unknown_fields(jobset, JOBSET) == []
    jobset["spec"]["failurePolicy"]["rules"][0]["onExitCodes"] = []
    assert unknown_fields(jobset, JOBSET) == [".spec.failurePolicy.rules.onExitCodes"]


def decided(jobset: dict[str, Any], *, code: int, disrupted: bool = False) -> str:
    """What the controllers of Job and JobSet do after a pod has ended, by their documentation."""
    reason, message = "BackoffLimitExceeded", "Job has reached the specified backoff limit"
    for index, rule in enumerate(job_of(jobset)["spec"]["podFailurePolicy"]["rules"]):
        codes = rule.get("onExitCodes", {}).get("values", [])
        conditions = [each["type"] for each in rule.get("onPodConditions", [])]
        if code in codes or (disrupted and "DisruptionTarget" in conditions):
            assert rule["action"] == "FailJob"
            reason = "PodFailurePolicy"
            message = f"failed with exit code {code} matching FailJob rule at index {index}"
            break
    for rule in jobset["spec"]["failurePolicy"]["rules"]:
        patterns = rule.get("onJobFailureMessagePatterns", [""])
        if reason in rule.get("onJobFailureReasons", [reason]) and any(
            re.search(pattern, message) for pattern in patterns
        ):
            return rule["action"]
    return "RestartJobSet"


@pytest.mark.parametrize("words", [TPU, GPU], ids=["tpu", "gpu"])
def test_exit_code_of_a_pod_decides_whether_the_set_is_started_again(words):
    jobset = manifest(*words, "--max-crashes", "7", "--", *COMMAND)
    assert decided(jobset, code=2) == decided(jobset, code=130) == "FailJobSet"
    assert decided(jobset, code=75) == "RestartJobSetAndIgnoreMaxRestarts"
    assert decided(jobset, code=137, disrupted=True) == "RestartJobSetAndIgnoreMaxRestarts"
    assert decided(jobset, code=1) == decided(jobset, code=139) == "RestartJobSet"
    assert jobset["spec"]["failurePolicy"]["maxRestarts"] == 7
    # The set begins anew as a whole: no pod comes back alone, and none stays.
    spec = job_of(jobset)["spec"]
    assert spec["backoffLimit"] == 0 and spec["template"]["spec"]["restartPolicy"] == "Never"
    assert jobset["spec"]["failurePolicy"]["restartStrategy"] == "BlockingRecreate"
    names = {rule["onExitCodes"]["containerName"]
             for rule in spec["podFailurePolicy"]["rules"] if "onExitCodes" in rule}  # fmt: skip
    assert names == {container_of(jobset)["name"]}


@pytest.mark.parametrize(
    ("accelerator", "topology", "hosts", "chips"),
    [
        ("tpu-v5-lite-podslice", "1x1", 1, 1),
        ("tpu-v5-lite-podslice", "2x2", 1, 4),
        ("tpu-v5-lite-podslice", "2x4", 2, 4),
        ("tpu-v5-lite-podslice", "8x8", 16, 4),
        ("tpu-v6e-slice", "16x16", 64, 4),
        ("tpu-v5p-slice", "2x2x1", 1, 4),
        ("tpu-v5p-slice", "4x4x8", 32, 4),
        ("tpu-v4-podslice", "2x2x2", 2, 4),
    ],
)
def test_slice_has_a_pod_for_every_host_and_all_of_its_chips(accelerator, topology, hosts, chips):
    words = ["--accelerator", accelerator, "--topology", topology]
    jobset = manifest(*TPU, *words, "--", *COMMAND)
    spec = job_of(jobset)["spec"]
    assert spec["completions"] == spec["parallelism"] == hosts
    assert spec["completionMode"] == "Indexed"
    assert container_of(jobset)["resources"] == {
        "requests": {"google.com/tpu": chips}, "limits": {"google.com/tpu": chips},
    }  # fmt: skip
    assert spec["template"]["spec"]["nodeSelector"] == {
        "cloud.google.com/gke-tpu-accelerator": accelerator,
        "cloud.google.com/gke-tpu-topology": topology,
    }


def test_multislice_is_a_job_for_every_slice_and_a_node_pool_for_every_job():
    jobset = manifest(*TPU, "--num-slices", "4", "--", *COMMAND)
    assert jobset["spec"]["replicatedJobs"][0]["replicas"] == 4
    assert jobset["metadata"]["annotations"] == {
        "alpha.jobset.sigs.k8s.io/exclusive-topology": "cloud.google.com/gke-nodepool"
    }


@pytest.mark.parametrize("words", [TPU, GPU], ids=["tpu", "gpu"])
def test_spot_is_asked_for_by_a_label_and_tolerated(words):
    for flags, label in ([], None), (["--spot"], "true"):
        pod = job_of(manifest(*words, *flags, "--", *COMMAND))["spec"]["template"]["spec"]
        assert pod["nodeSelector"].get("cloud.google.com/gke-spot") == label
        assert pod["tolerations"][0]["key"] == "cloud.google.com/gke-spot"


def test_processes_on_gpus_are_told_where_to_meet():
    jobset = manifest(*GPU, "--num-nodes", "4", "--gpus-per-node", "2", "--", *COMMAND)
    container = container_of(jobset)
    assert container["command"] == [
        *COMMAND,
        # Pod 0 of job 0, by the name that the set's headless service gives it.
        "--distributed.coordinator", "base-nodes-0-0.base:8476",
        "--distributed.num-processes", "4", "--distributed.process-id", "$(PROCESS_ID)",
    ]  # fmt: skip
    assert jobset["spec"]["replicatedJobs"][0]["name"] == "nodes"
    assert jobset["spec"]["network"] == {"enableDNSHostnames": True, "subdomain": "base"}
    assert "PROCESS_ID" in [variable["name"] for variable in container["env"]]
    assert container["ports"] == [{"containerPort": 8476}]
    assert container["resources"]["limits"] == {"nvidia.com/gpu": 2}


def test_processes_on_tpus_and_a_single_one_find_each_other_by_themselves():
    for words in ([*TPU, "--num-slices", "2"], [*GPU, "--num-nodes", "1"]):
        assert container_of(manifest(*words, "--", *COMMAND))["command"] == COMMAND


@pytest.mark.parametrize("words", [TPU, [*GPU, "--num-nodes", "2"]], ids=["tpu", "gpu"])
def test_command_reaches_the_container_word_for_word(words, awkward_words):
    command = container_of(manifest(*words, "--", *awkward_words, "--", "$(HOME)"))["command"]
    # Kubernetes puts variables in the place of $(NAME), and $( in that of $$(.
    reached = [word.replace("$$(", "$(") for word in command]
    assert reached[: len(awkward_words) + 2] == [*awkward_words, "--", "$(HOME)"]
    assert not any(re.search(r"(?<!\$)\$\((?!PROCESS_ID)", word) for word in command)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([*TPU], "there is no command; write it behind --"),
        ([*TPU, "--name", "Base"], "--name Base: must be small letters, digits and -"),
        ([*TPU, "--name", "b" * 41], "must have at most 40 characters"),
        ([*TPU, "--topology", "8x9"], "--topology 8x9: must be one of 1x1, 2x2, 2x4"),
        ([*TPU, "--topology", "4x4x4"], "must be 2 numbers with x between them"),
        ([*TPU, "--accelerator", "tpu-v5p-slice", "--topology", "3x3x1"], "has 9 chips"),
        ([*TPU, "--topology", "2x2", "--num-slices", "2"], "slices must be of several hosts"),
        ([*TPU, "--num-slices", "0"], "--num-slices 0: must be at least 1"),
        ([*TPU, "--max-crashes", "-1"], "--max-crashes -1: must be at least 0"),
        ([*GPU, "--accelerator", "a: b"], "--accelerator a: b: must be small letters"),
        ([*GPU, "--gpus-per-node", "0"], "--gpus-per-node 0: must be at least 1"),
        ([*TPU, "--accelerator", "tpu-v9"], "invalid choice: 'tpu-v9'"),
    ],
)
def test_wrong_flag_is_refused_by_its_name(words, message):
    command = [] if "no command" in message else ["--", *COMMAND]
    done = render(*words, *command)
    assert done.returncode == 2 and message in done.stderr
    assert done.stdout == ""


def test_help_of_the_program_shows_the_examples():
    done = subprocess.run([sys.executable, RENDER, "--help"], capture_output=True, text=True)
    assert done.returncode == 0 and "python launch/gke/render.py tpu --name base" in done.stdout


# setup.py leaves the README to the end of its process.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_image_is_given_all_that_the_package_is_installed_from(tmp_path, monkeypatch):
    dockerfile = (ROOT / "launch/gke/Dockerfile").read_text()
    copied = re.findall(r"^COPY (.+) (\S+)$", dockerfile, re.MULTILINE)
    for sources, _ in copied:
        for source in sources.split():
            here, there = ROOT / source, tmp_path / source
            (shutil.copytree if here.is_dir() else shutil.copy)(here, there)
    package: dict[str, Any] = {}
    setuptools = type(sys)("setuptools")
    setuptools.__dict__.update(setup=package.update, find_packages=lambda include: include)
    monkeypatch.setitem(sys.modules, "setuptools", setuptools)
    monkeypatch.chdir(tmp_path)
    runpy.run_path("setup.py")
    assert all((tmp_path / name).exists() for name in package["license_files"])
    assert (tmp_path / package["packages"][0] / "__main__.py").exists()
    assert (tmp_path / "configs/pretrain.py").exists()
    [default] = re.findall(r"^ARG EXTRA=(\w+)$", dockerfile, re.MULTILINE)
    assert {default, "cuda"} <= package["extras_require"].keys()
    assert package["entry_points"]["console_scripts"] == ["spanbert = spanbert_jax.__main__:main"]

"""`spanbert plan`: what it says, what it refuses; the compiler's answers are given."""

import json
import sys
from pathlib import Path

import pytest

from spanbert_jax.__main__ import main
from spanbert_jax.commands import plan as command
from spanbert_jax.config import PretrainConfig
from spanbert_jax.config.topologies import parse_topology
from spanbert_jax.errors import UserError
from spanbert_jax.planning import jobs
from spanbert_jax.planning.figures import Answer, OutOfMemory, StepFigures, Traffic, to_tree

BASE = f"{Path(__file__).parents[2]}/configs/pretrain.py:spanbert_base"
GIB = 2**30


class Compiler:
    """Answers as the TPU compiler would, of a step whose layers all cost the same."""

    def __init__(self) -> None:
        self.asked: list[jobs.Job] = []

    def __call__(self, job: jobs.Job, **_: object) -> Answer:
        self.asked.append(job)
        config, chips = job.config, job.topology.num_chips
        rows = config.data.batch_size / chips / config.training.num_microbatches
        depth, remat = config.model.num_layers, config.compute.remat
        activations = rows * depth * GIB * {"none": 0.05, "dots": 0.03, "full": 0.01}[remat]
        if activations > 20 * GIB:
            return OutOfMemory(activations, 15.75 * GIB, ((activations, "f32[9]", "jvp(a)/exp"),))
        seconds = 0.001 * rows * depth * {"none": 1.0, "dots": 1.2, "full": 1.4}[remat]
        return StepFigures(
            seconds=seconds * config.training.num_microbatches + 0.002,
            parts={"attention": 0.4 * seconds, "mlp": 0.6 * seconds, "optimizer": 0.001},
            copy_wait=0.0005,
            collective_wait=0.0005 if chips > 1 else 0.0,
            collectives={"all-reduce": Traffic(2, 4e8, 0.003)} if chips > 1 else {},
            matrix_seconds=0.5 * seconds,
            classic_seconds=1.3 * seconds,
            hbm_bytes=1e9 * depth,
            memory={"parameters": 0.4 * GIB, "optimizer": 0.8 * GIB, "activations": activations},
            largest=((1e9, "f32[16,512]{1,0}", "jvp(SpanBert)/layer_0"),),
        )


@pytest.fixture
def compiler(monkeypatch) -> Compiler:
    answers = Compiler()
    monkeypatch.setattr(command, "compiled", answers)
    monkeypatch.setattr(command, "check_libtpu", lambda: "0.0.42.1")
    return answers


def planned(capsys, *arguments: str) -> tuple[int, str]:
    code = main(["plan", BASE, *arguments])
    return code, capsys.readouterr().out


def refused(capsys, *arguments: str) -> str:
    assert main(["plan", *arguments]) == 2
    return capsys.readouterr().err.removeprefix("spanbert: error: ")


def test_a_plan_says_memory_time_and_cost(compiler, capsys):
    code, said = planned(
        capsys, "--topology", "v5e-16", "--price-per-chip-hour", "1.5", "--training.num-steps",
        "1000000",
    )  # fmt: skip
    assert code == 0
    # Reckoned from 2 and 4 layers: 16 rows a chip, 12 layers.
    assert sorted(job.config.model.num_layers for job in compiler.asked) == [2, 4]
    seconds = 0.001 * 16 * 12 + 0.002
    for part in (
        "12 layers of width 768, 12 heads, vocabulary 28,996 on v5e:4x4 (v5e-16): 16 chips as 16",
        "256 rows of 512 tokens, 16 a chip at a time; remat none, unrolled; reckoned from 2 and 4",
        "An ESTIMATE from compiled code; nothing ran on a TPU",
        "libtpu 0.0.42.1",
        "10.80 GiB of 15.75 GiB that a program can have: fits",
        f"{1e3 * seconds:.2f} ms",
        "all-reduce       2 times,    400.00 MB sent,    3.00 ms on the links",
        f"{256 / seconds:,.0f}",
        f"{seconds * 1e6 / 3600:,.1f} hours",
        f"{seconds * 1e6 / 3600 * 16:,.0f}",
        f"{seconds * 1e6 / 3600 * 16 * 1.5:,.0f} at 1.5 a chip-hour",
        "6 x 84,934,656 weights of matrix products x 131,072 tokens",
    ):
        assert part in said


def test_the_whole_model_is_compiled_where_that_is_asked_or_costs_no_more(compiler, capsys):
    planned(capsys, "--topology", "v5e-16", "--depth", "whole")
    planned(capsys, "--topology", "v5e-16", "--compute.scan-layers")
    assert [job.config.model.num_layers for job in compiler.asked] == [12, 12]


def test_a_modern_encoder_is_reckoned_from_layers_of_both_kinds(compiler, capsys):
    modern = f"{Path(__file__).parents[2]}/configs/modern.py:modern_spanbert_base"
    assert main(["plan", modern, "--topology", "v5e-16", "--data.batch-size", "64"]) == 0
    said = capsys.readouterr().out
    depths = sorted(job.config.model.num_layers for job in compiler.asked)
    assert depths == [4, 7]
    assert "22 layers of width 768" in said and "reckoned from 4 and 7 layers" in said
    # Of the line through them at 22 layers: those that see the whole row, one in three.
    low, high = ((depth + 2) // 3 for depth in depths)
    assert low + (high - low) * (22 - depths[0]) / (depths[1] - depths[0]) == 8
    # 8 layers see 1,024 tokens, 14 of them 129.
    assert f"attention in full (12 x {8 * 1_024 + 14 * 129:,} tokens seen in all layers" in said


def test_a_plan_is_written_as_json_with_every_figure(compiler, capsys, tmp_path):
    code, _ = planned(capsys, "--topology", "v6e:2x4", "--json", str(tmp_path / "plan.json"))
    (plan,) = json.loads((tmp_path / "plan.json").read_text())["plans"]
    assert code == 0
    assert plan["topology"] == "v6e:2x4" and plan["num_chips"] == 8 and plan["fits"]
    assert plan["mesh"] == {"data": 8, "fsdp": 1, "tensor": 1}
    assert plan["step_seconds"] == pytest.approx(0.001 * 32 * 12 + 0.002)
    assert plan["mfu"] == pytest.approx(plan["model_flops"] / plan["step_seconds"] / (8 * 918e12))
    assert plan["compiler"]["parts"]["mlp"] == pytest.approx(0.6 * 0.001 * 32 * 12)
    assert plan["cost"] is None


def test_what_does_not_fit_is_answered_with_what_would(compiler, capsys, tmp_path):
    file = str(tmp_path / "plan.json")
    code, said = planned(capsys, "--topology", "v5e-1", "--json", file)
    assert code == 3
    # 12 layers of 12.8 GiB, as 2 and 4 of them say, neither of which fits.
    assert "153.60 GiB of 15.75 GiB that a program can have: does not fit: 137.85 GiB too m" in said
    assert "f32[9]  jvp(a)/exp" in said
    # 256 rows in 16 parts of 16 rows: 9.6 GiB of activations.
    assert "fits: --training.num-microbatches 16, the same gradient, 16 rows a chip" in said
    plans = json.loads(Path(file).read_text())["plans"]
    assert [plan["fits"] for plan in plans] == [False, True]


def test_a_search_prints_ways_best_first_and_the_largest_batch(compiler, capsys):
    code, said = planned(capsys, "--topology", "v5e-8", "--search")
    assert code == 3  # 32 rows a chip are too many as the config has them
    table = said.partition("best first\n")[2].partition("\n\n")[0].splitlines()[1:]
    fitting = [line for line in table if "does not fit" not in line]
    assert fitting and table[: len(fitting)] == fitting
    # What recomputes less is faster, and two microbatches of it fit.
    assert fitting[0].split()[1:4] == ["16", "2", "none"]
    assert "largest batch per chip: 16 rows, --data.batch-size 128" in said
    # Two depths of three ways on each of two meshes, and of one batch that is not among them: full
    # rematerialisation is not tried, since dots fit as they are.
    assert len({job.key() for job in compiler.asked}) == 2 * (2 * 3 + 1)
    assert {job.config.compute.remat for job in compiler.asked} == {"none", "dots"}


def test_answers_are_kept_by_what_the_compiled_step_depends_on(tmp_path, monkeypatch):
    runs = []

    def run(job: jobs.Job, say: object) -> dict:
        runs.append(job)
        return to_tree(Compiler()(job))

    monkeypatch.setattr(jobs, "_run", run)

    def ask(topology: str = "v5e-16", **values: object) -> Answer:
        job = jobs.Job(PretrainConfig(**values), parse_topology(topology))
        return jobs.compiled(job, cache=str(tmp_path / "cache"), say=lambda _: None)

    first = ask()
    assert ask() == first and len(runs) == 1
    assert ask(workdir="/runs/a", fill=("a [MASK] .",)) == first and len(runs) == 1
    ask("v5e-8")
    assert len(runs) == 2
    monkeypatch.setattr(jobs, "version_of", lambda package: "0")
    ask()
    assert len(runs) == 3


def test_whoever_waits_for_the_compiler_is_told_so(monkeypatch):
    answer = to_tree(Compiler()(jobs.Job(PretrainConfig(), parse_topology("v5e-16"))))
    worker = "import sys, time; sys.stdin.read(); time.sleep(1.0); print(sys.argv[1])"
    monkeypatch.setattr(jobs, "_WORKER", (sys.executable, "-c", worker, json.dumps(answer)))
    monkeypatch.setattr(jobs, "_SECONDS_BETWEEN_SIGNS", 0.2)
    said: list[str] = []
    job = jobs.Job(PretrainConfig(), parse_topology("v5e-16"))
    assert to_tree(jobs.compiled(job, cache="", say=said.append)) == answer
    assert said[0].startswith("compiling 12 layers, 256 rows of 512 tokens, for v5e:4x4: this ")
    assert len(said) > 3
    assert all("compiling 12 layers: " in line and "so far" in line for line in said[1:-1])
    assert said[-1].startswith("compiled 12 layers in ")


def test_a_compiler_that_gives_up_is_quoted(monkeypatch):
    worker = "import sys; print('no such\\n', file=sys.stderr); sys.exit(7)"
    monkeypatch.setattr(jobs, "_WORKER", (sys.executable, "-c", worker))
    job = jobs.Job(PretrainConfig(), parse_topology("v5e-16"))
    with pytest.raises(UserError, match="for v5e:4x4, found that it ended with 7: no such; try"):
        jobs.compiled(job, cache="", say=lambda _: None)


@pytest.mark.parametrize(
    "arguments, parts",
    [
        ((), ("takes a config before its flags", "configs/pretrain.py:spanbert_base")),
        ((BASE,), ("--topology is missing", "v5e:4x8 or v5e-32")),
        ((BASE, "--topology", "v5e:5x5"), ("--topology v5e:5x5: must be", "v5e:16x16 (v5e-256)")),
        ((BASE, "--topology", "v5e-8", "--mesh.data", "3"), ("asks for 3 devices, found 8",)),
        (
            (BASE, "--topology", "v5e-8", "--mesh.tensor", "8"),
            ("--mesh.tensor 8: does not divide --model.num-heads 12", "use 6"),
        ),
        (
            (BASE, "--topology", "v5e-16", "--data.batch-size", "100"),
            ("--data.batch-size 100: is not divisible by the 16 devices", "use 96 or 112"),
        ),
        (
            (BASE, "--topology", "v5e-8", "--price-per-chip-hour", "-1"),
            ("--price-per-chip-hour -1.0: must not be negative",),
        ),
        ((BASE, "--topolgy", "v5e-8"), ("no flag --topolgy", "nearest one is --topology")),
    ],
)
def test_mistakes_are_said_before_anything_is_compiled(compiler, capsys, arguments, parts):
    message = refused(capsys, *arguments)
    for part in parts:
        assert part in message
    assert compiler.asked == []


@pytest.mark.parametrize("found", ["", "0.0.17"])
def test_without_the_right_libtpu_the_pip_line_is_said(monkeypatch, capsys, found):
    monkeypatch.setattr(jobs.importlib.util, "find_spec", lambda name: found or None)
    versions = {"libtpu": found, "jax": "0.10.2"}
    monkeypatch.setattr(jobs, "version_of", versions.__getitem__)
    message = refused(capsys, BASE, "--topology", "v5e-8")
    assert f"found {found or 'none'}; pip install 'libtpu==0." in message

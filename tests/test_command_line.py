"""What is typed after `spanbert`, and what comes back for help and for mistakes."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import spanbert_jax.__main__ as program
from spanbert_jax import __version__
from spanbert_jax.command_line import nearest_flag, parse_flags
from spanbert_jax.config import LengthPhase, PrepareConfig, PretrainConfig
from spanbert_jax.config.files import load_config
from spanbert_jax.config.weights import ImportConfig

ROOT = Path(__file__).resolve().parents[1]
PRETRAIN = f"{ROOT}/configs/pretrain.py"
QUICKSTART = f"{ROOT}/configs/quickstart.py"


def parse(*arguments: str) -> PretrainConfig:
    return parse_flags(PretrainConfig(), arguments, prog="spanbert pretrain", about="")


def error_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The message of a command that the user must mend: exit code 2, one paragraph."""
    assert program.main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("spanbert: error: ")
    assert printed.err.count("\n") == 1
    return printed.err.removeprefix("spanbert: error: ").rstrip("\n")


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",)])
def test_help_names_every_command_with_an_example(capsys, arguments):
    assert program.main(arguments) == 0
    printed = capsys.readouterr().out
    for command in (
        "prepare", "plan", "pretrain", "finetune", "evaluate", "inspect shards", "predict fill",
        "import", "export",
    ):  # fmt: skip
        assert f"\n  {command} " in printed
        assert f"\n  spanbert {command} " in printed


def test_help_of_predict_names_every_verb(capsys):
    assert program.main(["predict", "--help"]) == 0
    printed = capsys.readouterr().out
    for verb in ("fill", "answer", "classify", "relation", "tag"):
        assert f"\n  {verb} " in printed


def test_version_is_the_version_of_the_package(capsys):
    assert program.main(["--version"]) == 0
    assert capsys.readouterr().out == f"spanbert {__version__}\n"


@pytest.mark.parametrize(
    "arguments, flag",
    [
        (["pretrain", "--help"], "--optimizer.learning-rate"),
        (["pretrain", f"{PRETRAIN}:spanbert_base", "--help"], "--model.num-layers"),
        (["prepare", "--help"], "--source"),
        (["plan", "--help"], "--topology"),
        (["inspect", "--help"], "--mask"),
        (["inspect", "shards", "--help"], "--masking.tagged-prob"),
        (["predict", "answer", "--help"], "--context-file"),
        (["predict", "tag", "--help"], "--at-once"),
        (["evaluate", "--help"], "--submission"),
        (["predict", "fill", "--help"], "--checkpoint"),
        (["import", "--help"], "--tokenizer"),
        (["export", "--help"], "--step"),
    ],
)
def test_help_of_a_command_lists_its_flags(capsys, arguments, flag):
    with pytest.raises(SystemExit) as stop:
        program.main(arguments)
    assert stop.value.code == 0
    assert flag in capsys.readouterr().out


HEAVY = ["jax", "tensorflow", "numpy", "rich", "matplotlib"]


@pytest.mark.parametrize(
    "arguments, code",
    [
        (["--help"], 0),
        (["pretrain", f"{PRETRAIN}:spanbert_base", "--help"], 0),
        (["pretrain", f"{PRETRAIN}:spanbert_bas"], 2),
        (["pretrain", QUICKSTART, "--optimizer.learning-rate", "-3"], 2),
        (["pretrain", QUICKSTART, "--optimizer.lerning-rate", "3"], 2),
        (["prepare", "--help"], 0),
        (["inspect", "shards", "--help"], 0),
        (["inspect", "shards", "a", "--mask", "span"], 2),
        (["predict", "fill", "--top", "0"], 2),
        (["predict", "answer", "--help"], 0),
        (["predict", "answer", "--checkpoint", "a", "Who?"], 2),
        (["evaluate", "--help"], 0),
        (["evaluate", "/nowhere"], 2),
        (["import", "--help"], 0),
        (["import", "/models/a", "--num-heads", "0"], 2),
        (["export", "/runs/a"], 2),
    ],
)
def test_help_and_mistakes_load_no_heavy_library(arguments, code):
    script = f"""
import sys
sys.argv = ["spanbert", *{arguments!r}]
from spanbert_jax.__main__ import main
try:
    code = main()
except SystemExit as stop:
    code = stop.code or 0
print([code, [name for name in {HEAVY!r} if name in sys.modules]])
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == str([code, []])


def test_the_module_is_the_same_program():
    run = subprocess.run(
        [sys.executable, "-m", "spanbert_jax", "pretrain", QUICKSTART, "--data.batch-size", "0"],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 2
    assert run.stderr.startswith("spanbert: error: --data.batch-size 0: must be greater than 0")
    assert "Traceback" not in run.stderr


def test_dotted_flags_override_the_config():
    config = parse(
        "--optimizer.learning-rate", "2e-4", "--mesh.data", "-1", "--workdir", "gs://bucket/run1",
        "--model.no-span-boundary-head", "--optimizer.no-decay", "bias", "layer_norm",
    )  # fmt: skip
    assert config.optimizer.learning_rate == 2e-4
    assert config.mesh.data == -1
    assert config.workdir == "gs://bucket/run1"
    assert config.model.span_boundary_head is False
    assert config.optimizer.no_decay == ("bias", "layer_norm")
    assert config.masking == PretrainConfig().masking


def test_phases_are_typed_as_words_whatever_the_config_has():
    assert parse("--data.phases", "9:64", "1_000:128:32").data.phases == (
        LengthPhase(9, 64), LengthPhase(1_000, 128, 32),
    )  # fmt: skip
    named = load_config(f"{PRETRAIN}:bert_base_two_phases", PretrainConfig)
    for words, phases in (
        ([], (LengthPhase(900_000, 128),)), (["--data.phases", "9:64"], (LengthPhase(9, 64),)),
        (["--data.phases"], ()),
    ):  # fmt: skip
        assert parse_flags(named, words, prog="spanbert", about="").data.phases == phases


def test_help_shows_phases_as_they_are_typed(capsys):
    with pytest.raises(SystemExit):
        program.main(["pretrain", f"{PRETRAIN}:bert_base_two_phases", "--help"])
    printed = capsys.readouterr().out
    assert "--data.phases [STEPS:LENGTH[:BATCH] ...]" in printed
    assert "(default: 900000:128)" in printed


def test_prepare_takes_several_sources():
    config = parse_flags(
        PrepareConfig(), ["--source", "text:a", "jsonl:b#text", "--out", "c"], prog="p", about=""
    )
    assert config.source == ("text:a", "jsonl:b#text")


@pytest.mark.parametrize(
    "arguments, parts",
    [
        (["pretrian"], ["no command pretrian", "nearest one is pretrain"]),
        (["pretrain"], ["takes a config before its flags"]),
        (["pretrain", "--workdir", "x"], ["takes a config before its flags"]),
        (["pretrain", f"{ROOT}/configs/pretrian.py"], ["no config file", f"one is {PRETRAIN}"]),
        (["pretrain", f"{PRETRAIN}:spanbert_bas"], ["no config spanbert_bas", ":spanbert_base;"]),
        (["pretrain", PRETRAIN],
         ["defines 11 configs", "base, spanbert_large, spanbert_base_fast"]),
        (["pretrain", QUICKSTART, "--optimizer.lerning-rate", "3"],
         ["no flag --optimizer.lerning-rate", "nearest one is --optimizer.learning-rate"]),
        (["pretrain", QUICKSTART, "--batch-size", "3"], ["nearest one is --data.batch-size"]),
        (["pretrain", QUICKSTART, "7"], ["'7' belongs to no flag"]),
        (["pretrain", QUICKSTART, "--data.sequence-length", "256"],
         ["--data.sequence-length 256: is longer than --model.max-positions 128", "use at most"]),
        (["pretrain", QUICKSTART, "--data.blocks", "sentence_pair", "--model.num-segments", "1"],
         ["--data.blocks sentence_pair: has 2 segments", "use --model.num-segments 2"]),
        (["pretrain", QUICKSTART, "--data.blocks", "packed", "--model.pooler",
          "--model.next-sentence-head"],
         ["--model.next-sentence-head True: learns from sentence pairs, which --data.blocks packed",
          "use --data.blocks sentence_pair"]),
        (["pretrain", QUICKSTART, "--data.blocks", "packed", "--data.over-long-sentences",
          "original"],
         ["--data.over-long-sentences original: is a rule for blocks of whole sentences, which "
          "--data.blocks packed has not", "or --data.blocks document"]),
        (["pretrain", QUICKSTART, "--data.over-long-sentences", "drop"],
         ["'drop'", "--data.over-long-sentences", "'split', 'original'"]),
        (["pretrain", QUICKSTART, "--data.batch-size", "2.5"], ["--data.batch-size", "'2.5'"]),
        (["pretrain", QUICKSTART, "--data.phases", "200:64", "9:x"],
         ["--data.phases 9:x: must be whole numbers STEPS:LENGTH[:BATCH]", "900000:128:256"]),
        (["pretrain", QUICKSTART, "--data.phases", "9"],
         ["--data.phases 9: must be whole numbers"]),
        (["pretrain", QUICKSTART, "--data.phases", "9:7"],
         ["--data.phases 9:7, length 7: must be at least 8", "use 512, as the paper, or 128"]),
        (["pretrain", QUICKSTART, "--data.phases", "0:64"],
         ["--data.phases 0:64, steps 0: must be greater than 0"]),
        (["pretrain", QUICKSTART, "--data.phases", "9:64:0"],
         ["--data.phases 9:64:0, batch size 0: must be greater than 0"]),
        (["pretrain", QUICKSTART, "--data.phases", "9:256"],
         ["--data.phases 9:256, length 256: is longer than --model.max-positions 128"]),
        (["pretrain", QUICKSTART, "--data.phases", "400:32", "200:64"],
         ["--data.phases 400:32 200:64: takes 600 steps", "none of --training.num-steps 600",
          "rows of --data.sequence-length 128; use more steps, shorter phases, or --data.phases "]),
        (["pretrain", QUICKSTART, "--data.phase", "9:64"], ["nearest one is --data.phases"]),
        (["pretrain", QUICKSTART, "--compute.dtype", "float16"],
         ["'float16'", "--compute.dtype", "'auto', 'float32', 'bfloat16'", "--help lists"]),
        (["pretrain", QUICKSTART, "--workdir"], ["Missing value", "--workdir"]),
        (["pretrain", f"{PRETRAIN}:bert_base"], ["--workdir is missing", "such as /runs/base"]),
        (["prepare", "--out", "x"], ["--source is missing", "text:/data/*.txt"]),
        (["prepare", "--source", "text:x"], ["--out is missing"]),
        (["prepare", "--sorce", "text:x"], ["nearest one is --source"]),
        (["predict"], ["takes a verb first, fill, answer"]),
        (["predict", "anwser"], ["not anwser; the nearest one is answer"]),
        (["predict", "fill", "a [MASK]"], ["--checkpoint is missing"]),
        (["predict", "fill", "--top", "0"], ["--top 0: must be greater than 0"]),
        (["import", "--out", "x"], ["SOURCE is missing", "before the flags"]),
        (["import", "/models/a"], ["--out is missing", "/runs/imported"]),
        (["import", "a", "--out", "b", "--seed", "-1"], ["--seed -1: must be in [0, 2^31)"]),
        (["import", "a", "--out", "b", "--seed", "9" * 20], ["must be in [0, 2^31); use 0"]),
        (["import", "--sourc", "a", "--out", "b"],
         ["no flag --sourc; SOURCE is typed by itself", ": spanbert import SOURCE ..."]),
        (["export", "--checkpoint", "/runs/a", "--out", "x"],
         ["no flag --checkpoint; CHECKPOINT is typed by itself", "spanbert export CHECKPOINT ..."]),
        (["predict", "fill", "--text=a"], ["no flag --text; TEXTS is typed by itself"]),
        (["export", "/runs/a", "--ot", "x"], ["nearest one is --out; spanbert export --help"]),
        (["import", "/no/such/model", "--out", "/no/such/out"], ["/no/such/model", "check the"]),
        (["export", "--out", "x"], ["CHECKPOINT is missing", "the folder of a run"]),
        (["export", "/runs/a"], ["--out is missing", "/models/a"]),
    ],
)  # fmt: skip
def test_mistakes_are_one_paragraph_with_rule_value_and_remedy(capsys, arguments, parts):
    message = error_of(capsys, *arguments)
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    ("arguments", "lowercase"),
    [
        ([], None),
        (["--lowercase"], True),
        (["--lowercase", "--tokenizer=a"], True),
        (["--no-lowercase"], False),
        (["--lowercase", "False"], False),
        (["--lowercase=True"], True),
        (["--lowercase", "None"], None),
    ],
)
def test_a_flag_that_is_left_open_is_switched_on_and_off_as_any_other(arguments, lowercase):
    for config in (PrepareConfig(), ImportConfig()):
        assert parse_flags(config, arguments, prog="spanbert", about="").lowercase is lowercase
    nested = [word.replace("--no-", "--prepare.no-") for word in arguments]
    nested = [re.sub("^--(lowercase|tokenizer)", r"--prepare.\1", word) for word in nested]
    assert parse(*nested).prepare.lowercase is lowercase


def test_nearest_flag_knows_flags_typed_without_their_section():
    flags = ["--data.batch-size", "--workdir"]
    assert nearest_flag("--batch-sise", flags) == "--data.batch-size"
    assert nearest_flag("--zebra", flags) == ""


def write_config(folder: Path, body: str) -> str:
    path = folder / "mine.py"
    path.write_text("from spanbert_jax.config import *\n" + body)
    return str(path)


@pytest.mark.parametrize(
    "body, part",
    [
        ("def run():\n    return PretrainConfig(workdirs='x')\n", "TypeError at"),
        ("def run():\n    return DataConfig()\n", "returned a value of type DataConfig"),
        ("def run(:\n", "SyntaxError at"),
        ("import no_such_library\n", "ModuleNotFoundError at"),
        ("def _hidden():\n    return PretrainConfig()\n", "defines no config function"),
        ("def run():\n    return PretrainConfig(data=DataConfig(batch_size=0))\n",
         "mine.py: --data.batch-size 0: must be greater than 0"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_config_file_names_the_file(capsys, tmp_path, body, part):
    message = error_of(capsys, "pretrain", write_config(tmp_path, body))
    assert "mine.py" in message
    assert part in message


def test_a_file_with_one_config_needs_no_function_name_and_may_import_its_neighbours(tmp_path):
    (tmp_path / "neighbour.py").write_text("WORKDIR = 'runs/mine'\n")
    body = "from neighbour import WORKDIR\ndef run():\n    return PretrainConfig(workdir=WORKDIR)\n"
    script = f"""
import json, sys
from spanbert_jax.config import PretrainConfig
from spanbert_jax.config.files import load_config
print(json.dumps([load_config({write_config(tmp_path, body)!r}, PretrainConfig).workdir, sys.path]))
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    workdir, path = json.loads(run.stdout)
    assert workdir == "runs/mine"
    assert str(tmp_path) not in path


def test_interrupting_says_so_and_exits_with_130(capsys, monkeypatch):
    def interrupted(arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(program, "run_command", interrupted)
    assert program.main(["pretrain"]) == 130
    assert capsys.readouterr().err == "spanbert: interrupted\n"

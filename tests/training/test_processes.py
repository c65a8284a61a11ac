"""What one process alone does of what several do together; real ones are in tests/faults."""

import json
from collections.abc import Callable

import numpy as np
import pytest

from spanbert_jax.config import DataConfig, PretrainConfig
from spanbert_jax.errors import RunAgain, UserError
from spanbert_jax.training import processes
from spanbert_jax.training.processes import (
    any_of_all,
    check_same_run,
    reason_of_all,
    require_same,
    texts_of_all,
    together,
)


def test_alone_everything_is_what_it_would_be_without_it() -> None:
    assert together(lambda: 3) == 3
    assert any_of_all(True) and not any_of_all(False)
    assert texts_of_all("ä") == ["ä"]
    require_same({"text": "abc"})
    with pytest.raises(KeyError):
        together(lambda: {}["missing"])


@pytest.fixture
def others_say(monkeypatch: pytest.MonkeyPatch) -> Callable[[object], None]:
    """others_say(x): process 1 says x wherever all say something."""

    def say(said: object) -> None:
        monkeypatch.setattr(processes, "texts_of_all", lambda text: [text, json.dumps(said)])

    return say


def test_bad_input_of_another_process_is_told_with_its_name(others_say) -> None:
    others_say(["host-1", "piece 3 is altered", True])
    with pytest.raises(UserError, match="process 1 on host-1: piece 3 is altered"):
        together(lambda: 3)


def test_a_passing_fault_of_another_process_is_a_reason_to_run_again(others_say) -> None:
    others_say(["host-1", "OSError('503')", False])
    with pytest.raises(RunAgain, match="process 1 on host-1: OSError"):
        together(lambda: 3)


def test_of_all_reasons_the_first_that_came_of_no_other_is_told(
    others_say, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "are_several", lambda: True)
    others_say(["host-1", "the disk is full", False])
    told = "process 1 on host-1: the disk is full"
    assert reason_of_all("left alone", is_own=False) == told == reason_of_all("")
    assert reason_of_all("no such folder").endswith(": no such folder")
    others_say(["host-1", "", False])
    assert reason_of_all("") == ""


def test_the_own_failure_is_raised_as_it_is(others_say) -> None:
    others_say(["host-1", "something else", True])
    with pytest.raises(ZeroDivisionError):
        together(lambda: 1 // 0)


def test_what_processes_have_not_in_common_is_named(others_say) -> None:
    others_say({"text": "abc", "version of jax": "0.9"})
    with pytest.raises(UserError, match="version of jax: must be the same .* 0.10 .* 0.9 in proc"):
        require_same({"text": "abc", "version of jax": "0.10"})


def test_all_that_must_agree_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, str] = {}
    monkeypatch.setattr(processes, "require_same", asked.update)
    monkeypatch.setattr(processes, "are_several", lambda: True)
    check_same_run(PretrainConfig(fail_fast=False), {"text": "abc"})
    assert asked == {}
    check_same_run(PretrainConfig(), {"text": "abc"})
    assert {"--mesh.fsdp", "text", "code of spanbert_jax", "version of jaxlib"} <= asked.keys()
    before = dict(asked)
    check_same_run(PretrainConfig(data=DataConfig(batch_size=64)), {"text": "abc"})
    changed = {name: asked[name] for name in asked if asked[name] != before[name]}
    assert changed == {"--data.batch-size": "64"}


def test_weights_that_a_run_begins_with_must_be_the_same_everywhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[dict[str, str]] = []
    monkeypatch.setattr(processes, "require_same", asked.append)
    monkeypatch.setattr(processes, "are_several", lambda: True)
    kernel = np.arange(6, dtype=np.float32).reshape(2, 3)
    for weights in (None, {"kernel": kernel}, {"kernel": kernel.copy()}, {"kernel": -kernel}):
        check_same_run(PretrainConfig(), {}, weights=weights)
    without, first, same, other = (each.get("weights of --init-from") for each in asked)
    assert without is None and first == same != other


def test_a_package_that_is_not_there_is_one_that_all_must_lack() -> None:
    assert processes._version("no-such-package") == "none"
    assert processes._version("jax")[0].isdecimal()

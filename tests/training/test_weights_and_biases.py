"""What the package wandb would be told, by a stand-in for it."""

import importlib.machinery
import math
import sys
from types import ModuleType
from typing import Any

import pytest

from spanbert_jax.errors import UserError
from spanbert_jax.training.weights_and_biases import WeightsAndBiases, check_installed


class Run:
    def __init__(self, **settings: Any) -> None:
        self.settings, self.logged, self.finished = settings, [], False

    def log(self, metrics: dict[str, float], *, step: int) -> None:
        self.logged.append((step, metrics))

    def finish(self) -> None:
        self.finished = True


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    """The runs that are begun, of a package that has just what we call."""
    begun: list[Run] = []
    module = ModuleType("wandb")
    module.__spec__ = importlib.machinery.ModuleSpec("wandb", None)
    module.init = lambda **settings: begun.append(Run(**settings)) or begun[-1]  # type: ignore
    monkeypatch.setitem(sys.modules, "wandb", module)
    return begun


def test_figures_go_to_one_run_for_a_folder_and_numbers_that_are_none_do_not(runs) -> None:
    for step in (10, 20):
        sink = WeightsAndBiases("spans", run_dir="/runs/base", config={"training": {"seed": 1}})
        sink.write(step, {"loss": 2.5, "sbo_loss": math.nan})
        sink.close()
    first, second = runs
    assert first.logged == [(10, {"loss": 2.5})] and first.finished
    assert first.settings == second.settings
    assert first.settings["project"] == "spans" and first.settings["name"] == "base"
    assert first.settings["config"] == {"training": {"seed": 1}}
    assert first.settings["resume"] == "allow"
    WeightsAndBiases("spans", run_dir="/runs/large", config={})
    assert runs[2].settings["id"] != first.settings["id"]


def test_a_missing_package_is_an_error_before_anything_begins(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    check_installed("")
    with pytest.raises(UserError, match="--metrics.wandb spans: needs the package wandb"):
        check_installed("spans")

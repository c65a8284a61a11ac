"""A folder appears whole or not at all, wherever the user stands."""

import pytest

from spanbert_jax.errors import UserError
from spanbert_jax.weights.new_folder import new_folder


def fill(out) -> None:
    with new_folder(out) as folder:
        (folder / "checkpoints").mkdir()
        (folder / "checkpoints" / "0").write_text("0")
        (folder / "config.json").write_text("{}")


def files(folder) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


FILLED = ["checkpoints", "checkpoints/0", "config.json"]


def test_a_new_folder_is_made_with_those_above_it(tmp_path):
    fill(tmp_path / "a" / "b")
    assert files(tmp_path / "a" / "b") == FILLED
    assert files(tmp_path / "a")[:2] == ["b", "b/checkpoints"]


@pytest.mark.parametrize("out", [".", "../here", "~"])
def test_the_empty_folder_where_the_user_stands_is_filled(tmp_path, monkeypatch, out):
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(here))
    fill(out)
    assert files(here) == FILLED
    assert [path.name for path in tmp_path.iterdir()] == ["here"]


def test_an_empty_folder_that_is_there_is_not_replaced(tmp_path):
    """It may be a place where a disk is mounted, which can be neither removed nor renamed over."""
    number = tmp_path.stat().st_ino
    fill(tmp_path)
    assert tmp_path.stat().st_ino == number
    assert files(tmp_path) == FILLED


@pytest.mark.parametrize("error", [OSError("no room"), RuntimeError("a mistake")])
@pytest.mark.parametrize("exists", [False, True])
def test_nothing_is_left_after_an_error(tmp_path, error, exists):
    out = tmp_path / "out"
    if exists:
        out.mkdir()
    expected = UserError if isinstance(error, OSError) else RuntimeError
    with pytest.raises(expected), new_folder(out) as folder:
        (folder / "config.json").write_text("{}")
        raise error
    assert files(tmp_path) == (["out"] if exists else [])


def test_a_folder_that_holds_something_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="must be a new or empty folder, found one that holds"):
        fill(tmp_path)
    assert files(tmp_path) == ["notes.txt"]

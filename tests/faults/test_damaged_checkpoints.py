"""What happens to the files of checkpoints: a run goes on with what was saved, or says why not."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from spanbert_jax.config import DataConfig, ModelConfig, PretrainConfig
from spanbert_jax.errors import UserError
from spanbert_jax.training.checkpoint import Checkpoints, DataPosition
from spanbert_jax.training.recovery import Recovered, restore_newest
from spanbert_jax.training.saved_run import load_run
from spanbert_jax.training.saved_step import DamagedCheckpoint

STEPS = (5, 10)
CONFIG = PretrainConfig(
    model=ModelConfig(vocab_size=50, hidden_size=16, num_heads=2, max_positions=32),
    data=DataConfig(sequence_length=32),
)


def state_of(step: int) -> dict[str, Any]:
    """Of random bits, in arrays of several dtypes; one that is large for a data file."""
    key = jax.random.key(step)
    layer = {"kernel": jax.random.normal(key, (64, 48)), "bias": jax.random.normal(key, (48,))}
    half = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), layer)
    return {
        "step": jnp.int32(step),
        "params": {"encoder": {"layer_0": layer}},
        "moments": {"encoder": {"layer_0": half}},
    }


def position_of(step: int) -> DataPosition:
    return DataPosition(8 * step, 32, ((16, step),))


def abstract() -> Any:
    device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=device), state_of(0)
    )


def open_checkpoints(folder: Path) -> Checkpoints:
    return Checkpoints(folder, CONFIG, tokenizer_fingerprint="abc", text_fingerprint="text")


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was saved at STEPS."""
    folder = tmp_path_factory.mktemp("saved")
    with open_checkpoints(folder) as checkpoints:
        for step in STEPS:
            checkpoints.save(step, state_of(step), position=position_of(step), score=1 / step)
    return folder


@pytest.fixture
def run_dir(saved: Path, tmp_path: Path) -> Path:
    """A copy of it, to be damaged."""
    return Path(shutil.copytree(saved, tmp_path / "run"))


def recover(folder: Path, **how: Any) -> tuple[Recovered, list[str]]:
    """Where a run goes on, and what it says."""
    said: list[str] = []
    with open_checkpoints(folder) as checkpoints:
        found = restore_newest(checkpoints, abstract(), say=said.append, **how)
    assert found is not None
    return found, said


def is_as_saved(found: Recovered) -> bool:
    """Whether state and position are, bit for bit, those that were saved at the step."""
    expected = state_of(found.step)
    same = jax.tree.map(
        lambda a, b: a.dtype == b.dtype and np.asarray(a).tobytes() == np.asarray(b).tobytes(),
        found.state, expected,
    )  # fmt: skip
    return all(jax.tree.leaves(same)) and found.position == position_of(found.step)


def files_of(folder: Path, step: int = 10) -> list[Path]:
    return sorted(
        path for path in (folder / "checkpoints" / str(step)).rglob("*") if path.is_file()
    )


def largest(folder: Path, step: int = 10) -> Path:
    """The data file of most of a state."""
    return max(files_of(folder, step), key=lambda path: path.stat().st_size * ("/d/" in str(path)))


def flip(path: Path, place: float = 0.5, bit: int = 4) -> None:
    """Flip one bit, such as in the middle."""
    content = bytearray(path.read_bytes())
    content[min(int(place * len(content)), len(content) - 1)] ^= 1 << bit
    path.write_bytes(bytes(content))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


DAMAGES: dict[str, Callable[[Path], None]] = {
    "removed": Path.unlink,
    "cut to half": cut,
    "emptied": lambda path: path.write_bytes(b""),
    "a flip in front": lambda path: flip(path, 0.02),
    "a flip in the middle": flip,
    "a flip at the end": lambda path: flip(path, 0.9, bit=7),
}
# Without any of these a checkpoint cannot be read, or not be trusted.
NEEDED = ("data/metadata", "origin/metadata", "metrics/metrics", "state/manifest.ocdbt")


def damaged_copies(saved: Path, tmp_path: Path, how: str) -> Iterator[tuple[Path, Path]]:
    """Each file of a checkpoint, and a copy of the run in which it alone is damaged."""
    for number, file in enumerate(files_of(saved)):
        folder = Path(shutil.copytree(saved, tmp_path / str(number)))
        DAMAGES[how](folder / file.relative_to(saved))
        yield file, folder
        shutil.rmtree(folder)


@pytest.mark.parametrize("how", DAMAGES)
def test_every_file_of_a_checkpoint_may_be_damaged_and_the_run_goes_on_with_what_was_saved(
    saved: Path, tmp_path: Path, how: str
) -> None:
    """With that checkpoint where nothing is read of the file, else with the one before."""
    noticed = []
    for file, folder in damaged_copies(saved, tmp_path, how):
        found, said = recover(folder)
        assert is_as_saved(found), file
        if found.step == 5:
            noticed.append(str(file))
            (message,) = said
            assert message.startswith("the checkpoint of step 10 is damaged ("), message
            assert message.endswith(f"; it is kept in {folder}/damaged/10")
            assert not (folder / "checkpoints" / "10").exists()
            kept = [path for path in (folder / "damaged" / "10").rglob("*") if path.is_file()]
            assert len(kept) == len(files_of(saved)) - (how == "removed")
        else:
            assert (found.step, said) == (10, [])
        with open_checkpoints(folder) as checkpoints:
            # The run can be saved after it, and keeps its best.
            assert checkpoints.best_score() in (1 / 5, 1 / 10)
    assert {name for name in NEEDED if any(path.endswith(name) for path in noticed)} == set(NEEDED)
    assert str(largest(saved)) in noticed


@pytest.mark.parametrize("how", ["removed", "cut to half", "a flip in the middle"])
def test_a_model_is_loaded_as_it_was_saved_or_refused(
    saved: Path, tmp_path: Path, how: str
) -> None:
    refused = []
    for file, folder in damaged_copies(saved, tmp_path, how):
        try:
            run = load_run(folder)
        except DamagedCheckpoint as error:
            refused.append(file)
            assert str(error).startswith(f"{folder}/checkpoints/10: must be a checkpoint as it was")
            assert str(error).endswith("or move its folder away")
        else:
            expected = state_of(10)["params"]
            same = jax.tree.map(lambda a, b: bool((a == b).all()), run.params, expected)
            assert all(jax.tree.leaves(same)), file
        assert (folder / "checkpoints" / "10").exists()
        assert load_run(folder, step=5).step == 5
    assert largest(saved) in refused


def test_what_is_not_as_saved_is_named(run_dir: Path) -> None:
    flip(largest(run_dir))
    _, (said,) = recover(run_dir)
    assert "state: " in said and "/encoder/layer_0/kernel" in said


def test_a_digit_of_the_position_is_as_precious_as_the_state(run_dir: Path) -> None:
    file = run_dir / "checkpoints" / "10" / "data" / "metadata"
    file.write_text(file.read_text().replace('"next_example": 80', '"next_example": 81'))
    found, (said,) = recover(run_dir)
    assert found.step == 5
    assert "(data/: not what was saved)" in said


def test_two_damaged_checkpoints_are_both_set_aside(saved: Path, run_dir: Path) -> None:
    with open_checkpoints(run_dir) as checkpoints:
        checkpoints.save(12, state_of(12), position=position_of(12), score=None)
    cut(largest(run_dir, 12))
    shutil.rmtree(run_dir / "checkpoints" / "10" / "state")
    found, said = recover(run_dir)
    assert is_as_saved(found) and found.step == 5
    assert [message.split(" is damaged")[0] for message in said] == [
        "the checkpoint of step 12", "the checkpoint of step 10",
    ]  # fmt: skip
    assert sorted(path.name for path in (run_dir / "damaged").iterdir()) == ["10", "12"]


def test_where_all_are_damaged_nothing_is_moved_and_the_run_does_not_begin_anew(
    run_dir: Path,
) -> None:
    flip(largest(run_dir))
    (run_dir / "checkpoints" / "5" / "data" / "metadata").unlink()
    for _ in range(2):
        with pytest.raises(UserError) as error:
            recover(run_dir)
        assert "found all of them damaged (step 10: state: " in str(error.value)
        assert "; step 5: data/metadata cannot be read: FileNotFoundError" in str(error.value)
        assert str(error.value).endswith("or start a new run in another --workdir")
        assert {path.name for path in (run_dir / "checkpoints").iterdir()} == {"5", "10"}
    assert not (run_dir / "damaged").exists()


def test_a_run_without_a_checkpoint_is_a_new_one(tmp_path: Path) -> None:
    with open_checkpoints(tmp_path) as checkpoints:
        assert restore_newest(checkpoints, abstract(), say=print) is None


def test_a_step_that_is_damaged_twice_is_kept_twice(run_dir: Path) -> None:
    for _ in range(2):
        flip(largest(run_dir))
        assert recover(run_dir)[0].step == 5
        with open_checkpoints(run_dir) as checkpoints:
            checkpoints.save(10, state_of(10), position=position_of(10), score=None)
    assert sorted(path.name for path in (run_dir / "damaged").iterdir()) == ["10", "10_2"]
    assert recover(run_dir)[0].step == 10


def test_an_older_checkpoint_whose_score_is_damaged_is_set_aside_too(run_dir: Path) -> None:
    """Its score would decide which are kept; a file that is no JSON would stop every start."""
    score = run_dir / "checkpoints" / "5" / "metrics" / "metrics"
    score.write_text(score.read_text().replace("0.2", "0.0"))
    found, (said,) = recover(run_dir)
    assert is_as_saved(found) and found.step == 10
    assert said.startswith("the checkpoint of step 5 is damaged (metrics/: not what was saved)")
    with open_checkpoints(run_dir) as checkpoints:
        assert checkpoints.best_score() == 1 / 10


def test_a_storage_that_does_not_answer_is_no_damage(run_dir: Path) -> None:
    """Folders that cannot be read, without permissions, which do not count for root: a link that
    leads to itself.
    """
    for file in (largest(run_dir), run_dir / "checkpoints" / "10" / "data" / "metadata"):
        content = file.read_bytes()
        file.unlink()
        file.symlink_to(file)
        with pytest.raises(UserError, match="does not let us .*symbolic links") as error:
            recover(run_dir)
        assert not isinstance(error.value, DamagedCheckpoint)
        file.unlink()
        file.write_bytes(content)
        assert (run_dir / "checkpoints" / "10").exists()
    assert recover(run_dir)[0].step == 10


def test_the_state_of_another_optimizer_is_an_error_and_no_damage(run_dir: Path) -> None:
    wanted = abstract() | {"momentum": abstract()["step"]}
    with (
        open_checkpoints(run_dir) as checkpoints,
        pytest.raises(UserError, match="found momentum asked for as int32 .* saved as none; put"),
    ):
        restore_newest(checkpoints, wanted, say=print)
    assert not (run_dir / "damaged").exists()


def test_a_checkpoint_of_an_earlier_version_is_read_as_it_is(run_dir: Path) -> None:
    data = run_dir / "checkpoints" / "10" / "data" / "metadata"
    data.write_text('{"next_example": 80, "sequence_length": 32, "other_lengths": [[16, 10]]}')
    found, said = recover(run_dir)
    assert is_as_saved(found) and (found.step, said) == (10, [])
    assert load_run(run_dir).step == 10
    cut(largest(run_dir))
    assert recover(run_dir)[0].step == 5


def test_a_record_that_is_altered_does_not_pass_for_an_earlier_version(run_dir: Path) -> None:
    data = run_dir / "checkpoints" / "10" / "data" / "metadata"
    for field in ("checksum", "saved", "state", "items", "next_example"):
        content = data.read_text()
        data.write_text(content.replace(f'"{field}"', f'"{field[:-1]}_"'))
        with pytest.raises(DamagedCheckpoint):
            load_run(run_dir)
        data.write_text(content)
    assert load_run(run_dir).step == 10


def test_processes_agree_on_what_is_damaged(run_dir: Path) -> None:
    """What another process cannot read, this one does not use either."""
    answers = iter([True, False, False, False])
    asked: list[bool] = []

    def agree(damaged: bool) -> bool:
        asked.append(damaged)
        return next(answers) or damaged

    found, (said,) = recover(run_dir, agree=agree)
    assert is_as_saved(found) and found.step == 5
    assert "is damaged (another process cannot read it)" in said
    # Of the newest, of the one before, and when the newest was moved.
    assert asked == [False, False, False]

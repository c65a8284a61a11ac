"""One checkpoint, read and found to be what was saved. In: the folder of a step. Out: its JSON
items and its arrays, or `DamagedCheckpoint`, which names what is not as it was.

A record beside the position says what was saved: a digest of every array, a checksum of every other
item. Checkpoints of earlier versions have none, and are read as they are.
"""

import contextlib
import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import jax
import orbax.checkpoint as ocp
from etils import epath

from spanbert_jax.errors import UserError, brief, is_refusal, storage_cause
from spanbert_jax.training.late_answers import ignore_late_answers
from spanbert_jax.training.state_digest import leaves_by_path, state_digest

T = TypeVar("T")
Agree = Callable[[bool], bool]
"""Whether it is true on any process, asked by all of them at the same moment."""

DATA = "data"
STATE = "state"
METRICS = "metrics"
_RECORD, _CHECKSUM = "saved", "checksum"
# Of the data item of earlier versions: any other field is one that was altered.
_FIELDS = {"next_example", "sequence_length", "other_lengths"}


def alone(value: bool) -> bool:
    """The `Agree` of a single process."""
    return value


class DamagedCheckpoint(UserError):
    """A checkpoint that is not what was saved. `found` says where and how."""

    def __init__(self, path: epath.Path, found: str) -> None:
        super().__init__(
            f"{path}: must be a checkpoint as it was saved, found it damaged ({found}); copy it "
            "back from elsewhere, name another one with --step, or move its folder away"
        )
        self.found = found


def with_record(
    position: Mapping[str, Any], *, state: Any, items: Mapping[str, Any]
) -> dict[str, Any]:
    """The data item of a checkpoint: the position, and the record of what is saved with it.

    items: the others, as JSON takes them.
    """
    form, digests = form_of(state), state_digest(state)
    record = {
        STATE: {path: [*form[path], digest] for path, digest in digests.items()},
        "items": {name: _checksum(content) for name, content in items.items()},
    }
    content = {**position, _RECORD: record}
    return content | {_CHECKSUM: _checksum(content)}


def _checksum(content: Any) -> int:
    """Of what JSON makes of it, whatever the order of its fields.

    Twice through JSON: it turns keys into text, which sort otherwise, and tuples into lists.
    """
    plain = json.loads(json.dumps(content))
    return zlib.crc32(json.dumps(plain, sort_keys=True).encode())


class SavedStep:
    """The checkpoint in a folder, which is complete; nothing is read before it is asked for."""

    def __init__(self, path: epath.Path) -> None:
        self.path = path
        self._data: dict[str, Any] | None = None

    @property
    def data(self) -> dict[str, Any]:
        """The position in the data, as JSON.

        Raises:
            DamagedCheckpoint: it is not what was saved.
        """
        if self._data is None:
            data = self._json(DATA)
            checksum = data.pop(_CHECKSUM, None)
            intact = data.keys() <= _FIELDS if checksum is None else checksum == _checksum(data)
            if not intact or "next_example" not in data:
                raise self._altered(DATA)
            self._data = data
        return self._data

    @property
    def _record(self) -> dict[str, Any] | None:
        return self.data.get(_RECORD)

    def item(self, name: str) -> dict[str, Any]:
        """Another JSON item.

        Raises:
            DamagedCheckpoint: it is not what was saved.
        """
        content = self._json(name)
        if self._record is not None and self._record["items"].get(name) != _checksum(content):
            raise self._altered(name)
        return content

    def read_by_all(self, read: Callable[[], T], agree: Agree) -> T:
        """What `read` returns; `DamagedCheckpoint` on every process where it raises that on one."""
        damage = None
        try:
            result = read()
        except DamagedCheckpoint as error:
            damage = error
        if agree(damage is not None):
            raise damage or DamagedCheckpoint(self.path, "another process cannot read it")
        return result

    def check_items(self) -> None:
        """Raise `DamagedCheckpoint` where anything but the arrays is not what was saved."""
        if self._record is not None:
            items = list(self._record["items"])
        else:
            items = [METRICS] if (self.path / METRICS).exists() else []
        for name in items:
            self.item(name)
        with self._reading("_CHECKPOINT_METADATA"):
            names = ocp.path.step.standard_name_format()
            # Orbax asks for it of every step that there is.
            _ = names.find_step(self.path.parent, int(self.path.name)).commit_timestamp

    def form(self) -> dict[str, Any]:
        """Dtype and shape of every array of the state, by its path."""
        if self._record is not None:
            return {path: leaf[:2] for path, leaf in self._record[STATE].items()}
        return form_of(self.tree())

    def tree(self) -> Any:
        """The state, an abstract array at each leaf."""
        with self._reading(STATE), contextlib.closing(ocp.PyTreeCheckpointHandler()) as handler:
            tree = handler.metadata(self.path / STATE).tree
            return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), tree)

    def arrays(self, wanted: Any) -> Any:
        """Read the state, or some of its parts, onto the shardings of `wanted`; see `verify`.

        Raises:
            DamagedCheckpoint: it cannot be read.
        """
        with self._reading(STATE), contextlib.closing(ocp.PyTreeCheckpointHandler()) as handler:
            return handler.restore(
                self.path / STATE,
                args=ocp.args.PyTreeRestore(
                    wanted, restore_args=ocp.checkpoint_utils.construct_restore_args(wanted),
                    partial_restore=True,
                ),
            )  # fmt: skip

    def verify(self, arrays: Any) -> None:
        """Raise `DamagedCheckpoint` where parts of the state are not bit for bit what was saved.

        Takes all processes, and comes to the same on each.
        """
        if self._record is None:
            return
        form, digests = form_of(arrays), state_digest(arrays)
        found = {path: [*form[path], digests[path]] for path in digests}
        parts = {path.split("/")[0] for path in found}
        saved = {
            path: leaf for path, leaf in self._record[STATE].items() if path.split("/")[0] in parts
        }
        altered = [path for path in saved | found if saved.get(path) != found.get(path)]
        if altered:
            more = f" and {len(altered) - 1} more arrays" if len(altered) > 1 else ""
            raise DamagedCheckpoint(
                self.path, f"{STATE}: {altered[0]}{more} not bit for bit as saved"
            )

    def _json(self, name: str) -> dict[str, Any]:
        path = self.path / name / (METRICS if name == METRICS else "metadata")
        with self._reading(f"{name}/{path.name}"):
            content = json.loads(path.read_text())
            if not isinstance(content, dict):
                raise self._altered(name)
            return content

    def _altered(self, name: str) -> DamagedCheckpoint:
        return DamagedCheckpoint(self.path, f"{name}/: not what was saved")

    @contextlib.contextmanager
    def _reading(self, what: str) -> Iterator[None]:
        """Errors of reading are damage, but for a storage that does not answer."""
        ignore_late_answers()
        try:
            yield
        except UserError:
            raise
        except (MemoryError, jax.errors.JaxRuntimeError):
            # The devices are too small: the checkpoint is not to blame.
            raise
        except Exception as error:
            cause = storage_cause(error) or error
            told = f"{type(cause).__name__}: {brief(cause)}"
            if is_refusal(error):
                raise UserError(
                    f"{self.path}: a checkpoint must be read, found that its storage does not let "
                    f"us ({what}: {told}); mend the permissions, the disk or the network"
                ) from error
            raise DamagedCheckpoint(self.path, f"{what} cannot be read: {told}") from error


def form_of(tree: Any) -> dict[str, Any]:
    """Dtype and shape of every leaf, by its path, as JSON has them.

    {"params": {"bias": float32 of (2,)}} -> {"params/bias": ["float32", [2]]}
    """
    return {
        path: [str(leaf.dtype), list(leaf.shape)] for path, leaf in leaves_by_path(tree).items()
    }

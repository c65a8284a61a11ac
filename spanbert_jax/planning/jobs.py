"""Compilations, each in a process of its own, and what they said before. In: config, topology.
Out: figures, or that the step does not fit.
"""

import hashlib
import importlib.metadata
import importlib.util
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from etils import epath

import spanbert_jax
from spanbert_jax.config import PretrainConfig
from spanbert_jax.config.json import to_tree
from spanbert_jax.config.topologies import Topology
from spanbert_jax.errors import UserError
from spanbert_jax.planning.figures import Answer, from_tree
from spanbert_jax.planning.libtpu_environment import environment
from spanbert_jax.training.run_folder import write_whole

# Parts of a config that the compiled step depends on.
_SECTIONS = ("model", "compute", "mesh", "objective", "optimizer", "training", "masking", "data")
# Of these, values that change no instruction of it.
_BESIDE = {
    "training": ("seed", "log_every", "eval_every", "eval_batches", "max_skipped_steps"),
    "data": ("shards", "verify_shards"),
    "compute": ("compilation_cache",),
}
# Folders of the package whose code the step is made of.
_CODE = ("model", "training", "planning", "data/batch.py")
_PACKAGES = ("jax", "jaxlib", "libtpu", "flax", "optax")
_WORKER = (sys.executable, "-m", "spanbert_jax.planning.worker")
_SECONDS_BETWEEN_SIGNS = 30.0


class Job(NamedTuple):
    """One step to be compiled."""

    config: PretrainConfig
    topology: Topology

    def key(self) -> str:
        """What the answer depends on, as a name of a file: config, versions, code."""
        tree: dict[str, Any] = {name: to_tree(self.config)[name] for name in _SECTIONS}
        for section, names in _BESIDE.items():
            tree[section] = {k: v for k, v in tree[section].items() if k not in names}
        versions = {name: version_of(name) for name in _PACKAGES}
        text = json.dumps([tree, str(self.topology), versions, _code_digest()], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:24]


def version_of(package: str) -> str:
    """ "" where it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def check_libtpu() -> str:
    """The version of the TPU compiler.

    Raises:
        UserError: it is not installed, or not the one that this JAX works with.
    """
    wanted = _wanted_libtpu()
    found = version_of("libtpu") if importlib.util.find_spec("libtpu") else ""
    pattern = re.escape(wanted).replace(r"\*", ".*")
    if not re.fullmatch(pattern, found):
        raise UserError(
            f"spanbert plan compiles with libtpu {wanted}, the one that jax {version_of('jax')} "
            f"works with, found {found or 'none'}; pip install 'libtpu=={wanted}'"
        )
    return found


def _wanted_libtpu() -> str:
    """As jax[tpu] requires it: "0.0.42.*"."""
    for line in importlib.metadata.requires("jax") or ():
        if found := re.match(r"libtpu\s*==\s*([\w.*]+)", line):
            return found[1]
    return "*"


def compiled(job: Job, *, cache: str, say: Callable[[str], None]) -> Answer:
    """What the compiler says of a job; what it said before is not asked again."""
    folder = Path(cache).expanduser() if cache else None
    file = folder / f"{job.key()}.json" if folder else None
    if file is not None and file.exists():
        return from_tree(json.loads(file.read_text()))
    tree = _run(job, say)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(epath.Path(file), json.dumps(tree).encode())
    return from_tree(tree)


def _run(job: Job, say: Callable[[str], None]) -> dict[str, Any]:
    layers = f"{job.config.model.num_layers} layers"
    say(
        f"compiling {layers}, {job.config.data.batch_size} rows of "
        f"{job.config.data.sequence_length} tokens, for {job.topology}: this takes minutes"
    )
    begin = time.monotonic()
    request = json.dumps({"config": to_tree(job.config), "topology": str(job.topology)})
    with tempfile.TemporaryDirectory(prefix="spanbert-plan-") as bundles:
        code, stdout, stderr = _ended(
            [*_WORKER, bundles], request, environment(Path(bundles)),
            waiting=lambda: say(f"compiling {layers}: {time.monotonic() - begin:.0f} s so far"),
        )  # fmt: skip
    lines = stdout.splitlines()
    if code or not lines:
        raise UserError(
            f"the TPU compiler must compile the step for {job.topology}, found that it ended with "
            f"{code}: {_reason(stderr)}; try another mesh or batch"
        )
    say(f"compiled {layers} in {time.monotonic() - begin:.0f} s")
    return json.loads(lines[-1])


def _ended(
    command: Sequence[str], given: str, environment: dict[str, str], *, waiting: Callable[[], None]
) -> tuple[int, str, str]:
    """Exit code and output of a program; `waiting` is called now and then until it has ended."""
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=environment,
    ) as process:  # fmt: skip
        rest: str | None = given
        while True:
            try:
                stdout, stderr = process.communicate(rest, timeout=_SECONDS_BETWEEN_SIGNS)
            except subprocess.TimeoutExpired:
                waiting()
                rest = None
            except BaseException:
                process.kill()
                raise
            else:
                return process.returncode, stdout, stderr


def _reason(stderr: str) -> str:
    """The last line that says something."""
    lines = [line for line in stderr.splitlines() if line.strip()]
    return lines[-1][:500] if lines else "nothing was said"


def _code_digest() -> str:
    package = Path(spanbert_jax.__file__).parent
    files: Sequence[Path] = sorted(
        path
        for name in _CODE
        for path in ([package / name] if name.endswith(".py") else (package / name).rglob("*.py"))
    )
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in files)).hexdigest()

"""Writes the manifest of a run on GKE. In: flags and a command. Out: a JobSet, for kubectl.

    python launch/gke/render.py tpu --name base --image IMAGE --topology 8x8 --
        spanbert pretrain configs/pretrain.py:spanbert_base --workdir gs://bucket/base ...
    python launch/gke/render.py gpu --name base --image IMAGE --num-nodes 4 -- spanbert pretrain ...

Piped into `kubectl apply --filename -`. Standard library only: any machine can write it.
"""

import argparse
import json
import math
import re
import string
import sys
from collections.abc import Sequence
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
COORDINATOR_PORT = 8476

# What GKE calls the types, and how many numbers a topology of theirs has.
TPU_DIMENSIONS = {
    "tpu-v5-lite-podslice": 2,
    "tpu-v6e-slice": 2,
    "tpu-v5p-slice": 3,
    "tpu-v4-podslice": 3,
}
FLAT_TOPOLOGIES = ("1x1", "2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16")
CHIPS_PER_HOST = 4
# Kubernetes puts the names of job and pod behind it, into 63 characters.
LONGEST_NAME = 40


def parser() -> argparse.ArgumentParser:
    description, _, examples = (__doc__ or "").partition("\n\n")
    top = argparse.ArgumentParser(
        prog="render.py",
        description=description,
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    kinds = top.add_subparsers(dest="kind", required=True)
    tpu = kinds.add_parser("tpu", help="one slice, or several as a multislice")
    tpu.add_argument(
        "--accelerator", default="tpu-v5-lite-podslice", choices=TPU_DIMENSIONS, help="type"
    )
    tpu.add_argument("--topology", default="8x8", help="chips of a slice, such as 8x8")
    tpu.add_argument("--num-slices", type=int, default=1, help="slices of that topology")
    gpu = kinds.add_parser("gpu", help="nodes with NVIDIA GPUs, a process a node")
    gpu.add_argument("--accelerator", default="nvidia-h100-80gb", help="as GKE calls the type")
    gpu.add_argument("--num-nodes", type=int, default=1, help="nodes, all of one node pool")
    gpu.add_argument("--gpus-per-node", type=int, default=8, help="all that a node has")
    gpu.add_argument("--service-account", default="default", help="Kubernetes' account of the pods")
    for kind in (tpu, gpu):
        kind.add_argument("--name", required=True, help="of the JobSet")
        kind.add_argument("--image", required=True, help="built from launch/gke/Dockerfile")
        kind.add_argument("--spot", action="store_true", help="on spot nodes, which are cheaper")
        kind.add_argument("--max-crashes", type=int, default=10, help="that are tried again")
        kind.add_argument("--grace-seconds", type=int, default=300, help="to save after SIGTERM")
        kind.epilog = "The command follows behind --."
    return top


def hosts_and_chips(accelerator: str, topology: str) -> tuple[int, int]:
    """Hosts of a slice and chips of each: ("tpu-v5-lite-podslice", "8x8") -> (16, 4).

    ValueError: where GKE has no such slice.
    """
    dimensions = TPU_DIMENSIONS[accelerator]
    if not re.fullmatch("x".join([r"[1-9]\d*"] * dimensions), topology):
        raise ValueError(f"must be {dimensions} numbers with x between them for {accelerator}")
    if dimensions == 2 and topology not in FLAT_TOPOLOGIES:
        raise ValueError(f"must be one of {', '.join(FLAT_TOPOLOGIES)} for {accelerator}")
    chips = math.prod(map(int, topology.split("x")))
    if chips > CHIPS_PER_HOST and chips % CHIPS_PER_HOST:
        raise ValueError(f"has {chips} chips, which hosts of {CHIPS_PER_HOST} cannot share")
    chips_per_host = min(chips, CHIPS_PER_HOST)
    return chips // chips_per_host, chips_per_host


def check(flags: argparse.Namespace, command: Sequence[str]) -> None:
    """ValueError: what is wrong with the flags, by the name of one."""
    if not command:
        raise ValueError("there is no command; write it behind --, such as -- spanbert pretrain")
    for name in ("name", "accelerator", "service_account"):
        value = getattr(flags, name, "default")
        if not re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", value):
            raise ValueError(
                f"--{name.replace('_', '-')} {value}: must be small letters, digits and -, from a "
                "letter on; use a name such as base-1"
            )
    if len(flags.name) > LONGEST_NAME:
        raise ValueError(f"--name {flags.name}: must have at most {LONGEST_NAME} characters")
    least = {"max_crashes": 0, "grace_seconds": 1}
    least |= dict.fromkeys(("num_slices", "num_nodes", "gpus_per_node"), 1)
    for name in least.keys() & vars(flags).keys():
        if (value := getattr(flags, name)) < least[name]:
            flag = f"--{name.replace('_', '-')}"
            raise ValueError(f"{flag} {value}: must be at least {least[name]}")


def words(command: Sequence[str], *, ours: Sequence[str] = ()) -> str:
    """A command as YAML, with variables of Kubernetes in our words alone.

    words(["echo", "$(HOME)"], ours=["$(PROCESS_ID)"]) -> ["echo", "$$(HOME)", "$(PROCESS_ID)"]
    """
    return json.dumps([*(word.replace("$(", "$$(") for word in command), *ours])


def tpu_values(flags: argparse.Namespace, command: Sequence[str]) -> dict[str, object]:
    try:
        hosts, chips_per_host = hosts_and_chips(flags.accelerator, flags.topology)
    except ValueError as error:
        raise ValueError(f"--topology {flags.topology}: {error}") from None
    if flags.num_slices > 1 and hosts == 1:
        raise ValueError(
            f"--num-slices {flags.num_slices}: slices must be of several hosts, and a "
            f"{flags.topology} is one host; use a larger --topology"
        )
    return {"hosts": hosts, "chips_per_host": chips_per_host, "command": words(command)}


def gpu_values(flags: argparse.Namespace, command: Sequence[str]) -> dict[str, object]:
    connection = (
        "--distributed.coordinator", f"{flags.name}-nodes-0-0.{flags.name}:{COORDINATOR_PORT}",
        "--distributed.num-processes", str(flags.num_nodes),
        "--distributed.process-id", "$(PROCESS_ID)",
    )  # fmt: skip
    ours = connection if flags.num_nodes > 1 else ()
    return {"coordinator_port": COORDINATOR_PORT, "command": words(command, ours=ours)}


def render(flags: argparse.Namespace, command: Sequence[str]) -> str:
    """The manifest. ValueError: what is wrong with the flags."""
    check(flags, command)
    values = vars(flags) | {
        "spot_selector": 'cloud.google.com/gke-spot: "true"' if flags.spot else "",
        "image": json.dumps(flags.image),
    }
    values |= (tpu_values if flags.kind == "tpu" else gpu_values)(flags, command)
    template = (FOLDER / f"{flags.kind}_jobset.yaml").read_text(encoding="utf-8")
    return string.Template(template).substitute(values)


def main(arguments: Sequence[str]) -> None:
    # By hand: argparse takes a -- behind a subcommand for its own.
    end = arguments.index("--") if "--" in arguments else len(arguments)
    flags = parser().parse_args(arguments[:end])
    try:
        sys.stdout.write(render(flags, arguments[end + 1 :]))
    except ValueError as error:
        parser().error(str(error))


if __name__ == "__main__":
    main(sys.argv[1:])

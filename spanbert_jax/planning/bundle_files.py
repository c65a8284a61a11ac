"""The machine code that libtpu writes for a program. In: its folder. Out: costs by kernel."""

import re
from pathlib import Path

from spanbert_jax.planning.bundles import KernelCost, kernel_cost

_FILE = re.compile(r"\d+-(.+)-\d+-final_bundles\.txt")
# The program around the kernels, and code that is made again later.
_NO_KERNELS = re.compile(r"TLP$|<late")


def kernel_costs(folder: Path, *, cycles_per_matmul: int) -> dict[str, KernelCost]:
    """The cost of every kernel of the program that was compiled last, by its instruction."""
    costs: dict[str, KernelCost] = {}
    for path in sorted(folder.glob("*-final_bundles.txt")):
        found = _FILE.fullmatch(path.name)
        if found and not _NO_KERNELS.match(found[1]):
            with path.open(errors="replace") as lines:
                costs[found[1]] = kernel_cost(lines, cycles_per_matmul=cycles_per_matmul)
    for name, like in _same_kernels(folder).items():
        if like in costs:
            costs.setdefault(name, costs[like])
    return costs


def _same_kernels(folder: Path) -> dict[str, str]:
    """Kernels that were compiled once for several instructions: each one's, by the others."""
    same: dict[str, str] = {}
    for path in sorted(folder.glob("*deduplication-map*")):
        kernel = ""
        for line in path.read_text(errors="replace").splitlines():
            if line.startswith("key:"):
                kernel = line.removeprefix("key:").strip()
            elif line.startswith("  ") and kernel:
                same[line.strip()] = kernel
    return same

"""The environment of a process that compiles for TPUs on a machine that has none."""

import os
from pathlib import Path


def environment(bundles: Path) -> dict[str, str]:
    """This process's own, and what tells libtpu to write the machine code of kernels.

    Only of whole kernels: all passes of one softmax are 73 MB.
    """
    dump = (
        f"--xla_jf_dump_to={bundles} --xla_jf_dump_llo_text=true "
        "--xla_jf_dump_llo_pass_label_regex=^(final_bundles|deduplication-map)$"
    )
    given = os.environ.get("LIBTPU_INIT_ARGS", "")
    return os.environ | {
        "JAX_PLATFORMS": "cpu",
        "TPU_SKIP_MDS_QUERY": "1",
        # Several processes may compile at a time: none of them opens a chip.
        "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
        "TPU_STDERR_LOG_LEVEL": "3",
        "TPU_MIN_LOG_LEVEL": "3",
        "LIBTPU_INIT_ARGS": f"{given} {dump}".strip(),
    }

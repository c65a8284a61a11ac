"""What all tests share: shape checks on, and the folder of real data where it is at hand."""

import os
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

# Eight devices stand in for a pod. Compiled without optimisation: tests compile more than they
# compute. Set before JAX starts.
os.environ["XLA_FLAGS"] = (
    "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"
)

ROOT = Path(__file__).resolve().parents[1]

# Every signature of the layers that compute on arrays, shapes included, is checked while testing;
# in production it is free.
install_import_hook(["spanbert_jax.data", "spanbert_jax.model"], "beartype.beartype")


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real text and golden numbers beside the checkout; continuous integration has them."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip("needs the folder of real data beside the checkout")
    return folder


@pytest.fixture(scope="session")
def reference() -> Path:
    """Folder of golden numbers: that which SPANBERT_REFERENCE names, else the copies kept here."""
    named = os.environ.get("SPANBERT_REFERENCE")
    folder = Path(named) if named else ROOT / "tests" / "golden"
    if not folder.is_dir():
        pytest.fail(
            f"SPANBERT_REFERENCE {named}: must be a folder of golden numbers; unset it to "
            "use the copies in tests/golden"
        )
    return folder

"""What all tests share: shape checks on, and the folder of real data where it is at hand."""

from pathlib import Path

import pytest
from jaxtyping import install_import_hook

ROOT = Path(__file__).resolve().parents[1]

# Every jaxtyping signature of the package is checked while testing; in production it is free.
install_import_hook("spanbert_jax", "typeguard.typechecked")


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real text and golden numbers beside the checkout; continuous integration has them."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip("needs the folder of real data beside the checkout")
    return folder

"""Where the numbers of the original are."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def reference() -> Path:
    """Folder of golden numbers: that which SPANBERT_REFERENCE names, else the copies kept here."""
    named = os.environ.get("SPANBERT_REFERENCE")
    folder = Path(named) if named else Path(__file__).parent
    if not folder.is_dir():
        pytest.fail(
            f"SPANBERT_REFERENCE {named}: must be a folder of golden numbers; unset it to "
            "use the copies in tests/golden"
        )
    return folder

"""Tests of the TPU compiler itself, from the extra `plan`."""

import importlib.util

# It is not needed elsewhere, and says much on stderr: `pytest` without it leaves this folder out.
if importlib.util.find_spec("libtpu") is None:
    collect_ignore_glob = ["test_*.py"]

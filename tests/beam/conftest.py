"""Tests of the Beam runner, from the extra `beam`, in an environment of their own (.ci/run)."""

import importlib.util

# Beam wants an older protobuf than the rest: `pytest` without the extra leaves this folder out.
if importlib.util.find_spec("apache_beam") is None:
    collect_ignore_glob = ["test_*.py"]

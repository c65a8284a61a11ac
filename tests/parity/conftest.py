"""Tests against PyTorch and Transformers, from the extra `parity`."""

import importlib.util
import sys

# Triton, which PyTorch imports where it is installed, crashes the process that has TensorFlow in it
# already: both bring an LLVM. None makes it look absent; on CPUs nothing needs it.
sys.modules.setdefault("triton", None)  # type: ignore[arg-type]

# What is tested beside these needs neither: `pytest` without the extra leaves this folder out.
if importlib.util.find_spec("torch") is None:
    collect_ignore_glob = ["test_*.py"]

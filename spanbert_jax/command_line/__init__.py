"""The program's command line: what is typed -> a config -> one command."""

from spanbert_jax.command_line.commands import run_command
from spanbert_jax.command_line.flags import nearest_flag, parse_flags

__all__ = ["nearest_flag", "parse_flags", "run_command"]

"""Reads --beam-options. In: one string. Out: options of Apache Beam, which ignores mistakes."""

import contextlib
import difflib
import io
import re
import shlex
from typing import Any

from spanbert_jax.config import PrepareConfig
from spanbert_jax.config.addresses import is_address
from spanbert_jax.errors import UserError

# Runners on this machine, which reach its disks.
_HERE = {
    "directrunner", "bundlebaseddirectrunner", "switchingdirectrunner", "fnapirunner",
    "prismrunner", "testdirectrunner",
}  # fmt: skip
# Runners whose job server has options that Beam here does not know.
_WITH_OPTIONS_OF_THEIR_OWN = {"flinkrunner", "sparkrunner", "portablerunner", "kafkastreamsrunner"}


def checked_options(config: PrepareConfig) -> Any:
    """The `PipelineOptions`; `UserError` for a mistake in them, or an --out out of reach."""
    from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions

    parsers: list[Any] = []
    said = io.StringIO()
    try:
        words = shlex.split(config.beam_options)
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            options = PipelineOptions(words)
            options.get_all_options(add_extra_args_fn=parsers.append)
            _, unknown = parsers[0].parse_known_args(words)
    except ValueError as error:
        raise refused(config, str(error)) from error
    except SystemExit as error:  # argparse, behind a page of usage
        raise refused(config, said.getvalue().rpartition("error: ")[2].strip()) from error
    name = options.view_as(StandardOptions).runner or StandardOptions.DEFAULT_RUNNER
    runner = name.rpartition(".")[2].lower().removesuffix("runner") + "runner"
    flags = re.findall(r"--\w+", parsers[0].format_help())
    _check_unknown(config, unknown, flags=flags, open_ended=runner in _WITH_OPTIONS_OF_THEIR_OWN)
    known = {name.lower() for name in StandardOptions.KNOWN_RUNNER_NAMES}
    if runner in known - _HERE and not is_address(config.out):
        raise UserError(
            f"--out {config.out}: must be a place that all workers reach with {name}; use for "
            "instance gs://bucket/shards"
        )
    return options


def refused(config: PrepareConfig, cause: str) -> UserError:
    return UserError(
        f"--beam-options {config.beam_options}: must be options that Apache Beam accepts "
        f"({cause or 'it printed its help'}); mend them, or leave them out to use this machine"
    )


def _check_unknown(
    config: PrepareConfig, unknown: list[str], *, flags: list[str], open_ended: bool
) -> None:
    """Refuse words that are no options, and flags that neither Beam nor a job server may know."""
    before = ""
    for word in unknown:
        flag, equals, _ = word.partition("=")
        if not word.startswith("--"):
            if not before:
                raise refused(config, f"{word!r} does not begin with --; options are --name=value")
            before = ""
            continue
        if not open_ended:
            nearest = difflib.get_close_matches(flag, flags, n=1)
            hint = f"perhaps you meant {nearest[0]}" if nearest else "it has no such option"
            raise refused(config, f"{flag} is unknown, {hint}")
        before = "" if equals else flag

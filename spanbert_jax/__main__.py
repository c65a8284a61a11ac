"""The program `spanbert`, also `python -m spanbert_jax`. Errors leave as one paragraph."""

import sys
from collections.abc import Sequence
from types import TracebackType

from spanbert_jax.command_line import run_command
from spanbert_jax.errors import (
    FAILED,
    INTERRUPTED,
    RUN_AGAIN,
    USER_ERROR,
    RunAgain,
    UserError,
    storage_error,
)
from spanbert_jax.training.leaving import ending, forget_reader


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; 2 for bad input, 130 for Ctrl-C, 75 for a run that
    was stopped and goes on when the same command is run again.
    """
    try:
        return run_command(sys.argv[1:] if arguments is None else arguments)
    except UserError as error:
        return _told(f"spanbert: error: {error}", USER_ERROR)
    except RunAgain as stopped:
        return _told(f"spanbert: stopped: {stopped}", RUN_AGAIN)
    except KeyboardInterrupt as interrupt:
        said = ": ".join(["spanbert: interrupted", *map(str, interrupt.args)])
        return _told(said, INTERRUPTED)
    except BrokenPipeError:
        # The reader, `head` for instance, has seen enough.
        forget_reader(sys.stdout)
        return 0
    except Exception as error:
        if (explained := storage_error(error)) is None:
            sys.excepthook = _show_traceback
            raise
        return _told(f"spanbert: error: {explained}", USER_ERROR)


def _told(said: str, exit_code: int) -> int:
    """The exit code, once it is said why."""
    with ending(exit_code, sys.stderr):
        print(said, file=sys.stderr)
    return exit_code


def _show_traceback(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    with ending(FAILED, sys.stderr):
        sys.__excepthook__(kind, error, trace)


if __name__ == "__main__":
    sys.exit(main())

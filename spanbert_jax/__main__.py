"""The program `spanbert`, also `python -m spanbert_jax`. Errors leave as one paragraph."""

import os
import sys
from collections.abc import Sequence

from spanbert_jax.command_line import run_command
from spanbert_jax.errors import (
    INTERRUPTED,
    RUN_AGAIN,
    USER_ERROR,
    RunAgain,
    UserError,
    storage_error,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; 2 for bad input, 130 for Ctrl-C, 75 for a run that
    was stopped and goes on when the same command is run again.
    """
    try:
        return run_command(sys.argv[1:] if arguments is None else arguments)
    except UserError as error:
        print(f"spanbert: error: {error}", file=sys.stderr)
        return USER_ERROR
    except RunAgain as stopped:
        print(f"spanbert: stopped: {stopped}", file=sys.stderr)
        return RUN_AGAIN
    except KeyboardInterrupt as interrupt:
        print(": ".join(["spanbert: interrupted", *map(str, interrupt.args)]), file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader, `head` for instance, has seen enough. Python flushes once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if (explained := storage_error(error)) is None:
            raise
        print(f"spanbert: error: {explained}", file=sys.stderr)
        return USER_ERROR


if __name__ == "__main__":
    sys.exit(main())

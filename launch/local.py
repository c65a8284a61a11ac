"""A pod on this machine: several processes, each with several CPU devices, as on as many hosts.

    python launch/local.py --processes 2 --devices 4 \\
        pretrain configs/quickstart.py --data.shards /data/shards --workdir /tmp/pod

The command behind the flags is what `spanbert` takes; every process runs it with the
--distributed flags that it would be given on a cluster without Cloud TPU or Slurm. What holds here
holds on a pod: the same code joins the processes, splits the batches, agrees on a stop and saves.

Lines of the first process are shown as they are, those of the others behind their number. Ctrl-C
and SIGTERM go to all processes. The exit code is 0 where all end well, 2 where one is asked to mend
its input, else that of the first one that failed; 75 means: run the same command again, which
--restarts does for you. Where not all end well, the last line says the code of each.
"""

import argparse
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import IO

USER_ERROR, RUN_AGAIN, INTERRUPTED = 2, 75, 130


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def commands(
    spanbert: Sequence[str], *, num_processes: int, port: int, silence_seconds: int
) -> list[list[str]]:
    """What each process runs."""
    program = [sys.executable, "-m", "spanbert_jax", *spanbert]
    shared = [
        "--distributed.coordinator", f"127.0.0.1:{port}",
        "--distributed.num-processes", f"{num_processes}",
        "--distributed.silence-seconds", f"{silence_seconds}",
    ]  # fmt: skip
    return [
        [*program, *shared, "--distributed.process-id", f"{number}"]
        for number in range(num_processes)
    ]


def environment(num_devices: int) -> dict[str, str]:
    """Of each process: CPU devices, so many that XLA takes this machine for a host of a pod."""
    flags = (
        f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={num_devices}"
    )
    return os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags.strip()}


def pass_on(stream: IO[str], number: int) -> None:
    """Show the lines of a process."""
    for line in stream:
        sys.stderr.write(line if number == 0 else f"[{number}] {line}")
        sys.stderr.flush()


def run_once(each: Sequence[Sequence[str]], *, num_devices: int) -> tuple[int, bool]:
    """Start every process, wait for all; the exit code of the whole, and whether it was asked to
    stop.
    """
    processes: list[subprocess.Popen[str]] = []
    signals: list[tuple[int, int]] = []

    def forward(number: int, _: object) -> None:
        signals.append((number, len(processes)))
        for process in processes:
            process.send_signal(number)

    before = {n: signal.signal(n, forward) for n in (signal.SIGINT, signal.SIGTERM)}
    for command in each:
        processes.append(
            subprocess.Popen(
                command, env=environment(num_devices), text=True, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, start_new_session=True,
            )
        )  # fmt: skip
    for number, count in signals:
        # It came while these were not there yet.
        for process in processes[count:]:
            process.send_signal(number)
    print(f"pids: {' '.join(str(process.pid) for process in processes)}", file=sys.stderr)
    threads = []
    for number, process in enumerate(processes):
        assert process.stdout is not None
        threads.append(threading.Thread(target=pass_on, args=(process.stdout, number)))
        threads[-1].start()
    # A signal that killed one counts as 128 + its number, as in a shell.
    codes = [128 - code if (code := process.wait()) < 0 else code for process in processes]
    for thread in threads:
        thread.join()
    if any(codes):
        print(f"exit codes: {' '.join(map(str, codes))}", file=sys.stderr)
    for number, handler in before.items():
        signal.signal(number, handler)
    return together(codes), bool(signals)


def together(codes: Sequence[int]) -> int:
    """The exit code of all processes.

    [0, 0] -> 0; [75, 2] -> 2; [75, 137] -> 137; [130, 75] -> 130
    """
    failed = [code for code in codes if code != 0]
    for wanted in (USER_ERROR, INTERRUPTED):
        if wanted in failed:
            return wanted
    return next((code for code in failed if code != RUN_AGAIN), failed[0] if failed else 0)


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--processes", type=int, default=2, help="hosts of the pod (2)")
    parser.add_argument("--devices", type=int, default=4, help="devices of each (4)")
    parser.add_argument(
        "--restarts", type=int, default=0,
        help="how often to run the same command again where a run was stopped or crashed (0)",
    )  # fmt: skip
    parser.add_argument(
        "--silence-seconds", type=int, default=60,
        help="without a sign of life for so long, a process counts as lost (60)",
    )  # fmt: skip
    parser.add_argument("--dry-run", action="store_true", help="print the commands, run nothing")
    parser.add_argument("spanbert", nargs=argparse.REMAINDER, help="pretrain CONFIG ..., and flags")
    parsed = parser.parse_args(arguments)
    if not parsed.spanbert:
        parser.error("name a command of spanbert, such as pretrain configs/quickstart.py")
    for name in ("processes", "devices"):
        if getattr(parsed, name) < 1:
            parser.error(f"--{name} {getattr(parsed, name)}: must be at least 1")
    if parsed.restarts < 0:
        parser.error(f"--restarts {parsed.restarts}: must not be negative")
    return parsed


def main(arguments: Sequence[str] | None = None) -> int:
    parsed = parse_arguments(arguments)
    for start in range(parsed.restarts + 1):
        each = commands(
            parsed.spanbert, num_processes=parsed.processes, port=free_port(),
            silence_seconds=parsed.silence_seconds,
        )  # fmt: skip
        if parsed.dry_run:
            print("\n".join(shlex.join(command) for command in each))
            return 0
        code, was_stopped = run_once(each, num_devices=parsed.devices)
        if code in (0, USER_ERROR, INTERRUPTED) or was_stopped or start == parsed.restarts:
            return code
        print(f"exit code {code}: the same command again", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env bash
# What happens on one host of a pod. setup.sh copies this file there; the others call it by ssh.
#
#   on_host.sh setup COMMIT EXTRA     unpack COMMIT.tar.gz beside this file, install it
#   on_host.sh start COMMAND...       begin it in the background, whatever becomes of the connection
#   on_host.sh status                 nothing but what all of them end with:
#                                     spanbert-status HOST idle | running | exited CODE | lost
#   on_host.sh stop SECONDS           SIGTERM, so that it saves; SIGKILL after so many seconds
#   on_host.sh log LINES              the end of its log
#
# run/ keeps log, command, pid and exit_code; run/lock is locked for as long as the command lives,
# which no reused process number and no restart of the host can counterfeit.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
mkdir -p run

# Probes share their lock, so that two of them never take each other for the command.
running() { ! flock --shared --nonblock run/lock true; }

is_set_up() {
  [ -e code/COMMIT ] && return
  echo "$(hostname): nothing is installed here; setup.sh first" >&2
  # What bash says of this very file where it is missing.
  return 127
}

setup() {
  local commit=$1 extra=$2
  if running; then
    echo "$(hostname): a command is running, whose code would change under it; stop.sh first" >&2
    return 1
  fi
  rm -rf code
  mkdir code
  tar -xzf "$commit.tar.gz" -C code
  rm "$commit.tar.gz"
  # The images of Cloud TPU are Python 3.10; uv brings the same newer one to every host.
  python3 -m pip install --quiet --user uv
  [ -x venv/bin/python ] || python3 -m uv venv --quiet --python 3.12 venv
  python3 -m uv pip install --quiet --python venv/bin/python --editable "./code[$extra]"
  echo "$commit" >code/COMMIT
}

start() {
  local words
  is_set_up || return
  printf -v words '%q ' "$@"
  if running; then
    # A second start of the same command is somebody who looks after it again.
    [ "$words" = "$(cat run/command)" ] && return
    echo "$(hostname): another command is running: $(cat run/command)" >&2
    return 2
  fi
  rm -f run/exit_code
  printf '%s' "$words" >run/command
  # A session of its own, and none of the connection's files: it outlives the connection.
  setsid nohup bash on_host.sh supervise "$@" </dev/null >>run/log 2>&1 &
  # Until it holds the lock, it would be taken for lost.
  for _ in $(seq 100); do
    if running || [ -e run/exit_code ]; then return; fi
    sleep 0.1
  done
  echo "$(hostname): the command did not start; see $PWD/run/log" >&2
  return 1
}

supervise() {
  local code=0
  exec 9>run/lock
  # A probe may hold it for a moment.
  flock --timeout 5 9
  # A host that goes down sends SIGTERM to this shell too; it stays to write the exit code.
  trap : TERM
  echo "--- $(date --utc +%FT%TZ) $(hostname) $(cat code/COMMIT): $(cat run/command)"
  # shellcheck disable=SC1091
  . venv/bin/activate
  # No TPU is an error, not a reason to train on the CPU.
  export JAX_PLATFORMS=${JAX_PLATFORMS:-tpu,cpu}
  (
    cd code
    echo "$BASHPID" >../run/pid
    exec "$@"
  ) || code=$?
  echo "--- $(date --utc +%FT%TZ) exit code $code"
  # By renaming: whoever reads it reads all of it.
  echo "$code" >run/exit_code.new
  mv run/exit_code.new run/exit_code
}

status() { is_set_up; }

say_state() {
  local state=lost
  if [ -e run/exit_code ]; then
    state="exited $(cat run/exit_code)"
  elif running; then
    state=running
  elif [ ! -e run/command ]; then
    state=idle
  fi
  echo "spanbert-status $(hostname) $state"
}

stop() {
  if running; then
    kill -TERM "$(cat run/pid)" || true
    for _ in $(seq "$1"); do
      running || break
      sleep 1
    done
    if running; then kill -KILL "$(cat run/pid)" || true; fi
  fi
}

log() { tail -n "$1" run/log; }

"$@"
case $1 in
setup | start | status | stop) say_state ;;
esac

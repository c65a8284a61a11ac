#!/usr/bin/env bash
# Run a command on every host of the pod, and see it through: crashes, lost contact, preemption.
#
#   launch/tpu_vm/run.sh --zone us-central1-a [--max-crashes 3] [--skip-plan] [--dry-run] --
#     spanbert pretrain configs/pretrain.py:spanbert_base --workdir gs://bucket/run ...
#
# Before a pod is requested, `spanbert plan` says here what the run will need, take and cost in
# chip-hours; one that does not fit is refused (--skip-plan to do without). Whatever is missing is
# done first: create.sh, setup.sh. The command runs detached from this script: after Ctrl-C, or a lost
# connection, the same line looks after it again. What its exit codes mean:
#
#   0        finished
#   2, 130   bad input, Ctrl-C: never started again
#   75       saved and stopped before its end: started again, however often
#   others   a crash: started again, at most --max-crashes times in a row
#
# A pod that was preempted is deleted, requested anew, set up with the same commit (--ref), and the
# command goes on from its newest checkpoint. This script must live as long as the run: start it in tmux,
# on a machine that stays.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=parameters.sh
. "$(dirname "$0")/parameters.sh"

PREEMPTED=75

# hosts VERB...: on_hosts, tried again while the connection fails; returns PREEMPTED once there is no
# pod to connect to, or only a part of it.
hosts() {
  local code
  for _ in $(seq "$MAX_UNREACHABLE"); do
    code=0
    on_hosts "$@" || code=$?
    case $code in
    0 | 2 | 127) return "$code" ;;
    esac
    if taken_back; then return "$PREEMPTED"; fi
    sleep "$POLL_SECONDS"
  done
  fail "the hosts of $TPU_NAME did not answer $MAX_UNREACHABLE times; the command may be running:" \
    "watch.sh, and the same run.sh again"
}

# states: what hosts said of themselves, each state once: "running", "exited 75".
states() { sed -n 's/^spanbert-status [^ ]* //p' <<<"$ANSWER" | sort -u; }

# outcome: of a command that runs nowhere any more, by what weighs most among its hosts.
outcome() {
  local all
  all=$(states)
  case $'\n'$all$'\n' in
  *$'\nexited 2\n'*) echo refused ;;
  *$'\nexited 130\n'*) echo cancelled ;;
  *) case $(grep --invert-match --line-regexp --extended-regexp 'exited (0|75)' <<<"$all") in
    '') if [ "$all" = "exited 0" ]; then echo finished; else echo interrupted; fi ;;
    *) echo crashed ;;
    esac ;;
  esac
}

set_up() {
  "$HERE/setup.sh" && return
  if taken_back; then return "$PREEMPTED"; fi
  fail "setup.sh failed; its error is above"
}

# begin: the command on every host, or on none.
begin() {
  local code=0
  hosts status || code=$?
  if [ "$code" = 127 ]; then
    set_up || return
  elif [ "$code" != 0 ]; then
    return "$code"
  elif [ "$(states | grep --count .)" -gt 1 ]; then
    # Hosts of an attempt that is over would meet those of the next one.
    hosts stop "$STRAGGLER_SECONDS" || return
  fi
  hosts start "${REST[@]}"
}

# watch: until no host runs it any more. Sets OUTCOME.
watch() {
  local now before='' since=''
  while sleep "$POLL_SECONDS"; do
    hosts status || return
    now=$(sed -n 's/^spanbert-status [^ ]* //p' <<<"$ANSWER" | sort | uniq -c | xargs)
    [ "$now" = "$before" ] || say "$(date +%H:%M:%S) hosts: ${now:-none answered}"
    before=$now
    if ! states | grep --quiet --line-regexp running; then
      OUTCOME=$(outcome)
      return
    fi
    [ "$(states)" != running ] || continue
    # The others notice by themselves that one has ended, or hang.
    : "${since:=$SECONDS}"
    if [ $((SECONDS - since)) -ge "$STRAGGLER_SECONDS" ]; then
      say "some hosts have ended and others have not; stopping those"
      hosts stop "$STRAGGLER_SECONDS" || return
    fi
  done
}

replace_pod() {
  say "$TPU_NAME was preempted; requesting another"
  HOSTS=''
  # A request cannot be deleted while it is on its way down.
  while [ "$(resource_state SUSPENDED)" = SUSPENDING ]; do sleep "$POLL_SECONDS"; done
  for _ in $(seq "$MAX_UNREACHABLE"); do
    if "$HERE/delete.sh"; then
      "$HERE/create.sh"
      return
    fi
    sleep "$POLL_SECONDS"
  done
  fail "$TPU_NAME cannot be deleted; gcloud's error is above"
}

# plan: of the code that is here, where the hosts get the same.
plan() {
  if [ "$REF" != "$(git -C "$REPOSITORY" rev-parse HEAD)" ]; then
    say "no plan: the hosts get --ref $REF, and this checkout has another commit"
    return
  fi
  plan_first "$ACCELERATOR_TYPE" "${REST[@]}"
}

rehearse() {
  echo "# before anything is paid for"
  plan
  echo "# after a preemption"
  "$HERE/delete.sh"
  echo "# where there is no pod"
  "$HERE/create.sh"
  echo "# where nothing is installed"
  "$HERE/setup.sh"
  echo "# then"
  ssh_to all start "${REST[@]}"
  ssh_to all status
}

parameters "$@"
pin_commit
[ ${#REST[@]} -gt 0 ] || refuse "no command; use run.sh FLAGS -- spanbert pretrain CONFIG ..."
if [ -n "$DRY_RUN" ]; then
  rehearse
  exit
fi
state=$(resource_state ACTIVE) || fail "gcloud does not list queued resources; its error is above"
[ "$state" != MISSING ] || plan
trap 'say "the command runs on; the same line looks after it again, stop.sh stops it"; exit 130' INT
case $state in
SUSPENDING | SUSPENDED) replace_pod ;;
*) "$HERE/create.sh" ;;
esac

crashes=0
while :; do
  code=0
  begin || code=$?
  if [ "$code" = 0 ]; then watch || code=$?; fi
  case $code in
  0) ;;
  "$PREEMPTED") OUTCOME=preempted ;;
  2) refuse "the hosts run something else; stop.sh first, or look after that with its own line" ;;
  *) fail "a host lost what setup.sh installed there; setup.sh, then the same line" ;;
  esac
  case $OUTCOME in
  finished)
    say "finished on every host"
    exit
    ;;
  refused) refuse "the command was given bad input; watch.sh shows which" ;;
  cancelled)
    say "the command was cancelled on its host"
    exit 130
    ;;
  interrupted)
    crashes=0
    say "the command saved and stopped; starting it again"
    ;;
  preempted)
    crashes=0
    replace_pod
    ;;
  crashed)
    crashes=$((crashes + 1))
    [ "$crashes" -le "$MAX_CRASHES" ] ||
      fail "crashed $crashes times in a row; watch.sh shows the log, delete.sh ends the costs"
    say "crash $crashes of at most $MAX_CRASHES in a row; starting it again"
    ;;
  esac
done

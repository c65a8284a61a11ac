#!/usr/bin/env bash
# How the pod and the command on it are: states, exit codes, the end of the log of the first host.
#
#   launch/tpu_vm/watch.sh --zone us-central1-a [--log-lines 20] [--dry-run]
#
# Exit code 0 while there is a pod whose hosts answer.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=parameters.sh
. "$(dirname "$0")/parameters.sh"

parameters "$@"
state=$(resource_state ACTIVE) || fail "gcloud does not list queued resources; its error is above"
echo "queued resource $TPU_NAME: $state"
[ "$state" = ACTIVE ] || exit 1
echo "TPU VMs: $(node_states | sort | uniq -c | xargs)"
on_hosts status || code=$?
sort <<<"$ANSWER"
ssh_to 0 log "$LOG_LINES" || code=$?
exit "${code:-0}"

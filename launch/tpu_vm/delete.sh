#!/usr/bin/env bash
# Delete the queued resource and its TPU VMs with all that is on their disks. What the run wrote to
# gs:// stays.
#
#   launch/tpu_vm/delete.sh --zone us-central1-a [--dry-run]
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=parameters.sh
. "$(dirname "$0")/parameters.sh"

parameters "$@"
state=$(resource_state ACTIVE) || fail "gcloud does not list queued resources; its error is above"
if [ "$state" = MISSING ]; then
  say "there is no $TPU_NAME in $ZONE"
  exit 0
fi
run gcloud compute tpus queued-resources delete "$TPU_NAME" "${WHERE[@]}" --force --quiet
report "$TPU_NAME is deleted"

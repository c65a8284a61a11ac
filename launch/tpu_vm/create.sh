#!/usr/bin/env bash
# Request a Cloud TPU pod as a queued resource, and wait until it is there.
#
#   launch/tpu_vm/create.sh --zone us-central1-a [--accelerator-type v5litepod-64]
#     [--capacity spot|reserved|on-demand] [--num-slices 1] [--valid-until-duration 12h] [--dry-run]
#
# All flags and their defaults: parameters.sh. Run again, it goes on waiting for the same request.
# Ctrl-C stops the waiting, not the request: delete.sh does that.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=parameters.sh
. "$(dirname "$0")/parameters.sh"

request() {
  local flags=("--accelerator-type=$ACCELERATOR_TYPE" "--runtime-version=$RUNTIME_VERSION")
  if [ "$NUM_SLICES" -gt 1 ]; then
    flags+=("--node-count=$NUM_SLICES" "--node-prefix=$TPU_NAME")
  else
    flags+=("--node-id=$TPU_NAME")
  fi
  [ "$CAPACITY" = on-demand ] || flags+=("--$CAPACITY")
  [ -z "$VALID_UNTIL_DURATION" ] || flags+=("--valid-until-duration=$VALID_UNTIL_DURATION")
  [ -z "$SERVICE_ACCOUNT" ] || flags+=("--service-account=$SERVICE_ACCOUNT")
  run gcloud compute tpus queued-resources create "$TPU_NAME" "${WHERE[@]}" "${flags[@]}" --async
}

wait_until_active() {
  local state='' before=''
  while :; do
    # A question that is not answered, over hours of waiting, is asked again.
    state=$(resource_state ACTIVE) || state="not known (gcloud did not answer)"
    [ "$state" = "$before" ] || report "$(date +%H:%M:%S) $TPU_NAME is $state"
    before=$state
    case $state in
    ACTIVE) return ;;
    FAILED | SUSPENDING | SUSPENDED | DELETING | MISSING) fail "$(why "$state")" ;;
    esac
    sleep "$POLL_SECONDS"
  done
}

# why STATE: what a state without a future means, and what to do.
why() {
  local cause
  cause=$(gcloud compute tpus queued-resources describe "$TPU_NAME" "${WHERE[@]}" \
    '--format=value(state.failedData.error.message)' 2>/dev/null) || cause=''
  echo "the request $TPU_NAME is $1${cause:+: $cause}"
  case $1 in
  FAILED) echo "(no quota, a type that the zone lacks, or --valid-until-duration is over)" ;;
  SUSPENDING | SUSPENDED) echo "(its TPUs were taken back; it will never get others)" ;;
  esac
  echo "remedy: mend that, then launch/tpu_vm/delete.sh and launch/tpu_vm/create.sh"
}

parameters "$@"
state=$(resource_state MISSING) || fail "gcloud does not list queued resources; its error is above"
case $state in
MISSING) request ;;
*) say "$TPU_NAME was requested before" ;;
esac
wait_until_active

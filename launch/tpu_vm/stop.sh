#!/usr/bin/env bash
# Stop what run.sh started, on every host: it saves first, and the same run.sh goes on from there.
#
#   launch/tpu_vm/stop.sh --zone us-central1-a [--dry-run]
#
# Stop run.sh itself before (Ctrl-C): it would start the command again.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=parameters.sh
. "$(dirname "$0")/parameters.sh"

parameters "$@"
on_hosts stop "$STRAGGLER_SECONDS" || code=$?
sort <<<"$ANSWER"
exit "${code:-0}"

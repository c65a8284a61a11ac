#!/usr/bin/env bash
# Run a command on a TPU cluster of GKE by way of xpk, which writes the JobSet itself.
#
#   launch/gke/xpk.sh --cluster pods --zone us-central1-a --workload base --image IMAGE
#     [--project-id ...] [--tpu-type v5litepod-64] [--num-slices 1] [--max-restarts 50]
#     [--grace-seconds 300] [--skip-plan] [--dry-run] -- spanbert pretrain CONFIG ...
#
# `spanbert plan` says here first what the run will need and take; one that does not fit is refused.
# Once before: `pip install xpk`, and `xpk cluster create --cluster pods --tpu-type v5litepod-64
# --num-slices 1 --spot` (or --reservation, --on-demand). The image is built from the Dockerfile
# beside this file. Differs from render.py: xpk has one budget of restarts for exit code 75 and for
# crashes; bad input (2) is not tried again either way.
set -euo pipefail
: "${PROJECT_ID:=}" "${ZONE:=}" "${CLUSTER:=}" "${WORKLOAD:=spanbert}" "${IMAGE:=}"
: "${TPU_TYPE:=v5litepod-64}" "${NUM_SLICES:=1}" "${MAX_RESTARTS:=50}" "${GRACE_SECONDS:=300}"
: "${SKIP_PLAN:=}"
# shellcheck disable=SC2034 # read by set_parameter
PARAMETERS=(PROJECT_ID ZONE CLUSTER WORKLOAD IMAGE TPU_TYPE NUM_SLICES MAX_RESTARTS GRACE_SECONDS)
# shellcheck source-path=SCRIPTDIR source=../shell.sh
. "$(dirname "$0")/../shell.sh"
# shellcheck disable=SC2034 # read by parse_flags
SWITCHES=(SKIP_PLAN)

parse_flags "$@"
[ -n "$ZONE" ] || refuse "--zone is not set; use that of the cluster"
[ -n "$CLUSTER" ] || refuse "--cluster is not set; use one of: xpk cluster list"
[ -n "$IMAGE" ] || refuse "--image is not set; build and push launch/gke/Dockerfile, and name it"
[ ${#REST[@]} -gt 0 ] || refuse "no command; use xpk.sh FLAGS -- spanbert pretrain CONFIG ..."
require_whole_number NUM_SLICES 1
require_whole_number MAX_RESTARTS 0
require_whole_number GRACE_SECONDS 1
plan_first "$TPU_TYPE" "${REST[@]}"

where=("--cluster=$CLUSTER" "--zone=$ZONE")
[ -z "$PROJECT_ID" ] || where+=("--project=$PROJECT_ID")
# Beside 1 and 75, xpk starts again on 42 and on what a signal ended (127 to 255). `exec`, since it
# sends the SIGTERM of an eviction to the shell that it runs the command in.
run xpk workload create "${where[@]}" "--workload=$WORKLOAD" "--tpu-type=$TPU_TYPE" \
  "--num-slices=$NUM_SLICES" "--docker-image=$IMAGE" "--max-restarts=$MAX_RESTARTS" \
  --restart-on-exit-codes=1,75 "--termination-grace-period-seconds=$GRACE_SECONDS" \
  "--command=exec $(quoted "${REST[@]}")"
report "see it: xpk workload list $(quoted "${where[@]}")"
report "end it: xpk workload delete $(quoted "${where[@]}" "--workload=$WORKLOAD")"

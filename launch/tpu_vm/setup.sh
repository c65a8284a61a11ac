#!/usr/bin/env bash
# Put one commit of this checkout on every host of the pod, and install it there.
#
#   launch/tpu_vm/setup.sh --zone us-central1-a [--ref HEAD] [--extra tpu] [--dry-run]
#
# The commit travels as an archive: every host gets the same bytes, and none needs to know how to
# clone. Run again with another commit, it replaces the code and keeps the packages that still fit.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=parameters.sh
. "$(dirname "$0")/parameters.sh"

parameters "$@"
pin_commit
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/spanbert"
run cp "$HERE/on_host.sh" "$folder/spanbert/on_host.sh"
# By the commit's name: where the copy fails, an older one must not pass for it.
run git -C "$REPOSITORY" archive --format=tar.gz "--output=$folder/spanbert/$REF.tar.gz" \
  "$REF"
run gcloud compute tpus queued-resources scp --recurse "$folder/spanbert" "$TPU_NAME:" \
  "${SSH_FLAGS[@]}" --node=all --worker=all
on_hosts setup "$REF" "$EXTRA" ||
  fail "a host was not set up; its error is above, and the same command tries again"
report "$TPU_NAME has $REF on every host"

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
commit=$(git -C "$REPOSITORY" rev-parse --verify --quiet "$REF^{commit}") ||
  refuse "--ref $REF is no commit of $REPOSITORY; use HEAD, a branch or a tag"
if [ "$REF" = HEAD ] && ! git -C "$REPOSITORY" diff --quiet HEAD --; then
  refuse "the checkout has changes that the hosts would not get; commit them, or name a --ref"
fi

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/spanbert"
run cp "$HERE/on_host.sh" "$folder/spanbert/on_host.sh"
run git -C "$REPOSITORY" archive --format=tar.gz "--output=$folder/spanbert/code.tar.gz" "$commit"
run gcloud compute tpus queued-resources scp --recurse "$folder/spanbert" "$TPU_NAME:" \
  "${SSH_FLAGS[@]}"
on_hosts setup "$commit" "$EXTRA" ||
  fail "a host was not set up; its error is above, and the same command tries again"
report "$TPU_NAME has $commit on every host"

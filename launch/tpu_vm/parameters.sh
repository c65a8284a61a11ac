# shellcheck shell=bash
# The parameters of the scripts beside this file, and the questions they all ask. Sourced.
#
# Set them as environment variables or as flags (ZONE=us-central1-a, --zone us-central1-a). The
# names are those of Google's own instructions: what is exported for one serves the other.

: "${PROJECT_ID:=}"                          # empty: the default of gcloud
: "${ZONE:=}"                                # where your quota or reservation is; always asked for
: "${TPU_NAME:=spanbert}"                    # of the queued resource and of its TPU VMs
: "${ACCELERATOR_TYPE:=v5litepod-64}"        # v5e with 64 chips: 16 hosts of 4
: "${RUNTIME_VERSION:=v2-alpha-tpuv5-lite}"  # v6e: v2-alpha-tpuv6e, v5p: v2-alpha-tpuv5
: "${NUM_SLICES:=1}"                         # slices of that type, as one multislice
: "${CAPACITY:=spot}"                        # spot, reserved or on-demand
: "${VALID_UNTIL_DURATION:=}"                # give the request up after, such as 12h; empty: never
: "${SERVICE_ACCOUNT:=}"                     # of the hosts; empty: the project's default
: "${SSH_BY:=external-ip}"                   # external-ip, internal-ip or iap
: "${EXTRA:=tpu}"                            # of setup.py, which the hosts install
: "${REF:=HEAD}"                             # the commit that they install
: "${POLL_SECONDS:=60}"                      # between two questions about a state
: "${MAX_CRASHES:=3}"                        # run.sh: crashes in a row that are tried again
: "${MAX_UNREACHABLE:=30}"                   # run.sh: questions in a row without an answer
: "${STRAGGLER_SECONDS:=300}"                # run.sh: for the hosts that have not ended yet
: "${LOG_LINES:=20}"                         # watch.sh

: "${SKIP_PLAN:=}"                            # run.sh: 1, or --skip-plan: no `spanbert plan` before

# shellcheck disable=SC2034 # read by set_parameter
PARAMETERS=(PROJECT_ID ZONE TPU_NAME ACCELERATOR_TYPE RUNTIME_VERSION NUM_SLICES CAPACITY
  VALID_UNTIL_DURATION SERVICE_ACCOUNT SSH_BY EXTRA REF POLL_SECONDS MAX_CRASHES MAX_UNREACHABLE
  STRAGGLER_SECONDS LOG_LINES)

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
REPOSITORY=$(cd "$HERE/../.." && pwd)
# shellcheck source-path=SCRIPTDIR source=../shell.sh
. "$HERE/../shell.sh"
# shellcheck disable=SC2034 # read by parse_flags
SWITCHES=(SKIP_PLAN)

# parameters "$@": parse and check the flags of a script.
parameters() {
  parse_flags "$@"
  [ -n "$ZONE" ] || refuse "--zone is not set; use one of: gcloud compute tpus locations list"
  case $CAPACITY in
  spot | reserved | on-demand) ;;
  *) refuse "--capacity $CAPACITY is not one of spot, reserved, on-demand" ;;
  esac
  case $SSH_BY in
  external-ip | internal-ip | iap) ;;
  *) refuse "--ssh-by $SSH_BY is not one of external-ip, internal-ip, iap" ;;
  esac
  require_whole_number NUM_SLICES 1
  require_whole_number POLL_SECONDS 0
  require_whole_number MAX_CRASHES 0
  require_whole_number MAX_UNREACHABLE 1
  require_whole_number STRAGGLER_SECONDS 0
  require_whole_number LOG_LINES 1
  WHERE=("--zone=$ZONE")
  [ -z "$PROJECT_ID" ] || WHERE+=("--project=$PROJECT_ID")
  SSH_FLAGS=("${WHERE[@]}")
  case $SSH_BY in
  internal-ip) SSH_FLAGS+=(--internal-ip) ;;
  iap) SSH_FLAGS+=(--tunnel-through-iap) ;;
  esac
  # What the sister scripts are called with, so that flags reach them too.
  export "${PARAMETERS[@]}" "${SWITCHES[@]}" DRY_RUN
}

# pin_commit: from here on REF is a commit, whatever is committed while the script runs.
pin_commit() {
  local commit
  commit=$(git -C "$REPOSITORY" rev-parse --verify --quiet "$REF^{commit}") ||
    refuse "--ref $REF is no commit of $REPOSITORY; use HEAD, a branch or a tag"
  if [ "$REF" = HEAD ] && ! git -C "$REPOSITORY" diff --quiet HEAD --; then
    refuse "the checkout has changes that the hosts would not get; commit them, or name a --ref"
  fi
  REF=$commit
}

# resource_state ASSUMED: of the queued resource, such as ACTIVE; MISSING if there is none.
#
# From the list: the answer about one that does not exist is an error, as is a lost connection.
resource_state() {
  local state
  state=$(ask "$1" gcloud compute tpus queued-resources list "${WHERE[@]}" \
    "--filter=name ~ /queuedResources/$TPU_NAME$" '--format=value(state.state)') || return
  printf '%s\n' "${state:-MISSING}"
}

# node_states: of the TPU VMs, a line each. A preempted VM says so before its request does.
node_states() {
  ask READY gcloud compute tpus tpu-vm list "${WHERE[@]}" \
    "--filter=queuedResource ~ /queuedResources/$TPU_NAME$" '--format=value(state)'
}

# taken_back: whether the pod was preempted, in whole or in part. Stops where somebody deleted it:
# who does that does not want another one.
taken_back() {
  local state
  state=$(resource_state ACTIVE) || return 1
  case $state in
  SUSPENDING | SUSPENDED | FAILED) return 0 ;;
  MISSING | DELETING) fail "$TPU_NAME was deleted; the command ended with it" ;;
  esac
  node_states | grep --quiet --extended-regexp '^(PREEMPTED|TERMINATED|STOPPED)$'
}

# count_hosts: of all TPU VMs together.
count_hosts() {
  gcloud compute tpus tpu-vm list "${WHERE[@]}" \
    "--filter=queuedResource ~ /queuedResources/$TPU_NAME$" \
    '--format=value(networkEndpoints.len())' | awk '{ hosts += $1 } END { print hosts + 0 }'
}

# ssh_to all|0 VERB...: on_host.sh with these words, on all hosts or on the first one.
ssh_to() {
  local which=$1
  shift
  local command=(gcloud compute tpus queued-resources ssh "$TPU_NAME" "${SSH_FLAGS[@]}"
    "--node=$which" "--worker=$which" "--command=bash spanbert/on_host.sh $(quoted "$@")")
  case $1 in
  # Questions, asked every minute: without gcloud's own line about every host.
  status | log) ask '' "${command[@]}" --no-user-output-enabled ;;
  *) run "${command[@]}" ;;
  esac
}

# on_hosts VERB...: on every host; leaves in ANSWER what they are in then, a line each. Fails if it
# fails on any, or if one does not answer: gcloud leaves out a TPU VM that it cannot reach, and calls
# that success. HOSTS is how many there are; whoever replaces the pod empties it.
HOSTS=''
on_hosts() {
  ANSWER=$(ssh_to all "$@") || return
  [ -z "$DRY_RUN" ] || return 0
  [ "${HOSTS:-0}" -gt 0 ] || HOSTS=$(count_hosts) || return
  local answers
  answers=$(grep --count '^spanbert-status ' <<<"$ANSWER") || true
  [ "$HOSTS" -gt 0 ] && [ "$answers" -eq "$HOSTS" ] && return
  say "$answers of $HOSTS hosts of $TPU_NAME answered"
  return 1
}

# shellcheck shell=bash
# What the scripts of this folder share: flags, --help, --dry-run, words for people. Sourced.
#
# A parameter is a variable in capitals, and a flag is its name: ZONE, --zone. A script sets
# PARAMETERS to the names that it takes before it calls `parse_flags`, and SWITCHES to those that are
# set, to 1, by a flag without a value.

# Commands are printed where the script's output goes, also from inside $(...).
exec 3>&1
DRY_RUN=${DRY_RUN:-}
SWITCHES=()

say() { printf '%s\n' "$*" >&2; }

# What has been done, so that a dry run does not claim it.
report() { [ -n "$DRY_RUN" ] || say "$@"; }

# A mistake of the user's: exit code 2, as spanbert's own, so that nobody tries it again unchanged.
refuse() {
  say "error: $*"
  exit 2
}

# Something that went wrong on its way.
fail() {
  say "error: $*"
  exit 1
}

# quoted a 'b c' -> a b\ c: one line that a shell reads as the same words.
quoted() {
  local words
  printf -v words '%q ' "$@"
  printf '%s' "${words% }"
}

show() { printf '+ %s\n' "$(quoted "$@")" >&3; }

# run COMMAND...: print it, and do it unless this is a dry run.
run() {
  show "$@"
  [ -n "$DRY_RUN" ] || "$@"
}

# ask ASSUMED COMMAND...: the output of a question; a dry run prints it and assumes an answer.
ask() {
  local assumed=$1
  shift
  if [ -n "$DRY_RUN" ]; then
    show "$@"
    printf '%s\n' "$assumed"
  else
    "$@"
  fi
}

# The comment on top of the script is its manual.
usage() { sed -n '2,/^[^#]/{/^#/s/^# \{0,1\}//p;}' "$0"; }

# parse_flags "$@": sets parameters; what follows the flags, or --, is left in REST.
parse_flags() {
  local name value
  while [ $# -gt 0 ]; do
    if is_switch "$1"; then
      set_parameter "$1" 1
      shift
      continue
    fi
    case $1 in
    --help | -h)
      usage
      exit 0
      ;;
    --)
      shift
      break
      ;;
    --dry-run) DRY_RUN=1 ;;
    --*=*)
      name=${1%%=*} value=${1#*=}
      set_parameter "$name" "$value"
      ;;
    --*)
      [ $# -gt 1 ] || refuse "$1 needs a value: $1 VALUE"
      set_parameter "$1" "$2"
      shift
      ;;
    *) break ;;
    esac
    shift
  done
  REST=("$@")
}

is_switch() {
  local known
  for known in "${SWITCHES[@]}"; do
    [ "$(flag_of "$known")" != "$1" ] || return 0
  done
  return 1
}

# flag_of SKIP_PLAN -> --skip-plan
flag_of() { printf -- '--%s' "$1" | tr 'A-Z_' 'a-z-'; }

set_parameter() {
  local flag=$1 value=$2 name known
  name=$(printf '%s' "${flag#--}" | tr 'a-z-' 'A-Z_')
  for known in "${PARAMETERS[@]}" "${SWITCHES[@]}"; do
    if [ "$known" = "$name" ]; then
      printf -v "$name" '%s' "$value"
      return
    fi
  done
  refuse "$flag is no flag of ${0##*/}; use one of" \
    "$(for known in "${PARAMETERS[@]}" "${SWITCHES[@]}"; do printf '%s ' "$(flag_of "$known")"; done)--dry-run" \
    "--help"
}

# require_whole_number NAME LEAST
require_whole_number() {
  local flag value=${!1}
  flag=--$(printf '%s' "$1" | tr 'A-Z_' 'a-z-')
  case $value in
  '' | *[!0-9]*) refuse "$flag $value must be a whole number; use $flag $2" ;;
  esac
  [ "$value" -ge "$2" ] || refuse "$flag $value must be at least $2; use $flag $2"
}

# plan_first TYPE COMMAND...: what a pretraining would be on a slice of that type, before it is paid
# for; refuses one that does not fit. Nothing for other commands, and with --skip-plan.
plan_first() {
  local type=$1 code=0
  shift
  case $SKIP_PLAN in
  '' | 0) ;;
  *) return ;;
  esac
  if [ "${1-} ${2-}" != "spanbert pretrain" ]; then
    say "no plan: the command does not begin with spanbert pretrain"
    return
  fi
  if [ "$NUM_SLICES" -gt 1 ]; then
    say "no plan: spanbert plan knows single slices; plan one of them with its part of the batch"
    return
  fi
  [ -n "$DRY_RUN" ] || command -v spanbert >/dev/null ||
    refuse "spanbert plan is not installed here; pip install -e '.[plan]', or --skip-plan"
  # Relative names are of the code, here as on the hosts.
  (cd "$(dirname "${BASH_SOURCE[0]}")/.." && run spanbert plan "${@:3}" --topology "$type") || code=$?
  case $code in
  0) ;;
  3) refuse "the step does not fit on $type; the plan says what does; --skip-plan to go on all the same" ;;
  *) refuse "spanbert plan ended with $code; mend what it says, or --skip-plan" ;;
  esac
}

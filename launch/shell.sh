# shellcheck shell=bash
# What the scripts of this folder share: flags, --help, --dry-run, words for people. Sourced.
#
# A parameter is a variable in capitals, and a flag is its name: ZONE, --zone. A script sets
# PARAMETERS to the names that it takes before it calls `parse_flags`.

# Commands are printed where the script's output goes, also from inside $(...).
exec 3>&1
DRY_RUN=${DRY_RUN:-}

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

set_parameter() {
  local flag=$1 value=$2 name known
  name=$(printf '%s' "${flag#--}" | tr 'a-z-' 'A-Z_')
  for known in "${PARAMETERS[@]}"; do
    if [ "$known" = "$name" ]; then
      printf -v "$name" '%s' "$value"
      return
    fi
  done
  refuse "$flag is no flag of ${0##*/}; use one of" \
    "$(printf -- '--%s ' "${PARAMETERS[@]}" | tr 'A-Z_' 'a-z-')--dry-run --help"
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

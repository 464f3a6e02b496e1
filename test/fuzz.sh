#!/usr/bin/env bash
# fuzz.sh runs every fuzz target of the module, one after the other.
#
#   fuzz.sh [TIME]    TIME is for each target, 20s if not given
set -euo pipefail
cd "$(dirname "$0")/.."
time=${1:-20s}
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# fuzz DIR TARGET runs one target. Go now and then ends a run that found nothing with
# "context deadline exceeded", when the time is over while it starts or ends a worker:
# that is no finding.
fuzz() {
  echo "== $1 $2"
  if go test -run '^$' -fuzz "^$2\$" -fuzztime "$time" "$1" 2>&1 | tee "$log"; then
    grep -q '^fuzz: elapsed' "$log" && return
    echo "fuzz.sh: $2 was not run: go test knows no such target" >&2
    return 1
  fi
  if grep -q 'context deadline exceeded' "$log" && ! grep -q 'Failing input written' "$log"; then
    echo "fuzz.sh: $2 ran out of time; nothing found"
    return
  fi
  return 1
}

mapfile -t found < <(grep -ro --exclude-dir=.cache --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' . | sed 's/:func /:/' | sort)
ran=0
for f in "${found[@]}"; do # file:target
  fuzz "$(dirname "${f%%:*}")" "${f#*:}"
  ran=$((ran + 1))
done
if ((ran == 0)); then
  echo "fuzz.sh: no fuzz target found" >&2
  exit 1
fi
echo "fuzz.sh: $ran targets, $time each, nothing found"

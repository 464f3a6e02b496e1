#!/usr/bin/env bash
# run.sh torments bin/bundle and bin/install and prints a table of what came of it.
#
#   run.sh sample    what CI runs: 20 kills, 200 byte changes, 40 truncations
#   run.sh full      200 kills of builds and as many of pushes, 2,000 byte changes,
#                    200 truncations
#
# NARU_TORTURE_SEED repeats a run ("random" draws a seed, which is printed). Ends
# with a non-zero code when anything is not as it must be.
set -euo pipefail
cd "$(dirname "$0")/../.."

case ${1:-} in
sample) counts=(-kills 20 -flips 200 -truncations 40) ;;
full) counts=(-kills 400 -flips 2000 -truncations 200) ;;
*)
  sed -n '2,/^set/{/^set/!s/^# \{0,1\}//p;}' "$0" >&2
  exit 2
  ;;
esac
shift

tools=${NARU_TOOLS:-$PWD/.cache/tools}
registry=$(test/tools/tools.sh --dir "$tools" docker-registry)
go run ./test/torture -bin bin -tools "$(dirname "${registry#* }")" "${counts[@]}" "$@"

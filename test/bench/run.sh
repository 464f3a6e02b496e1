#!/bin/sh
# run.sh measures naru against plain tools and prints a Markdown table; see
# docs/performance.md. BENCH_FULL=1 measures memory with four times the content too.
# Arguments go to the bench program (-only, -reps, -bytes, -out).
set -eu
cd "$(dirname "$0")/../.."

tools=$PWD/.cache/tools
test/tools/tools.sh --dir "$tools" crane skopeo docker-registry distribution openssl >&2
mkdir -p "$tools/bench"
go build -o "$tools/bench/upstream" ./test/lab/cmd/upstream
go build -o "$tools/bench/bench" ./test/bench
full=
[ "${BENCH_FULL:-}" = 1 ] && full=-full
PATH="$tools:$tools/deb/usr/bin:$PATH" exec "$tools/bench/bench" -bin "$PWD/bin" -upstream "$tools/bench/upstream" \
	-cache "$PWD/.cache/lab" -out "$PWD/.cache/bench.md" $full "$@"

#!/usr/bin/env bash
# Proves pkg/stack on a real API server. The programs are built from Go modules once
# and kept in the lab's cache.
set -euo pipefail
cd "$(dirname "$0")/../../.."
exec go test -tags e2e -count=1 -v -timeout 35m ./test/e2e/stack "$@" -args -cache "${NARU_LAB_CACHE:-$PWD/.cache/lab}"

#!/usr/bin/env bash
# Runs the end-to-end tests: installs what they need, then go test -tags e2e.
# Needs root, and bin/ as `make build` leaves it. Further arguments go to go test:
#
#   test/e2e/run.sh -run TestContainerdCertsD
#
# NARU_TOOLS names another folder for the tools, NARU_LAB_CACHE one for the lab's content.
set -euo pipefail
cd "$(dirname "$0")/../.."

if ((EUID != 0)); then
  echo "error: the end-to-end tests need root, for network namespaces and mounts" >&2
  exit 1
fi
tools=${NARU_TOOLS:-$PWD/.cache/tools}
cache=${NARU_LAB_CACHE:-$PWD/.cache/lab}
missing=()
for pair in nft:nftables curl:curl runc:runc haproxy:haproxy; do
  command -v "${pair%%:*}" >/dev/null || missing+=("${pair#*:}")
done
if ((${#missing[@]})); then
  apt-get -q update
  DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends "${missing[@]}"
fi
test/tools/tools.sh --dir "$tools" crane cosign2 cosign3 helm skopeo containerd ctr docker-registry zstd jq openssl ip

log=$PWD/.cache/e2e.log
mkdir -p "${log%/*}"
status=0
go test -tags e2e -count=1 -v -timeout 30m ./test/e2e "$@" \
  -args -bin "$PWD/bin" -tools "$tools" -cache "$cache" 2>&1 | tee "$log" || status=$?
if ((status)); then
  echo "run.sh: what failed, once more; all of it is in $log" >&2
  grep -E '^ *(--- FAIL|[a-z_]+_test\.go:|panic:)' "$log" | cut -c1-400 | tail -40 >&2 || true # a build that failed has none of these lines
fi
exit "$status"

#!/usr/bin/env bash
# Proves with a real apt-get what naru serves of Debian 12. Needs root, and bin/ as
# `make build` leaves it; installs debootstrap and iproute2 if they are missing.
set -euo pipefail
cd "$(dirname "$0")/../../.."
cache=${NARU_LAB_CACHE:-$PWD/.cache/lab}
if ((EUID != 0)); then
  echo "error: this test needs root, for roots of Debian and a network namespace" >&2
  exit 1
fi
missing=()
for pair in debootstrap:debootstrap ip:iproute2 nsenter:util-linux curl:curl; do
  command -v "${pair%%:*}" >/dev/null || missing+=("${pair#*:}")
done
if ((${#missing[@]})); then
  apt-get -q -o DPkg::Lock::Timeout=300 update
  DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 install --no-install-recommends "${missing[@]}"
fi
exec go test -tags e2e -count=1 -v -timeout 15m ./test/e2e/apt "$@" -args -bin "$PWD/bin" -cache "$cache"

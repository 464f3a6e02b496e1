#!/usr/bin/env bash
# Proves with a real dnf what naru serves of RPM distributions. Needs bin/ as
# `make build` leaves it; installs rpm, createrepo_c, dnf and gpg if they are missing.
set -euo pipefail
cd "$(dirname "$0")/../../.."
tools=${NARU_TOOLS:-$PWD/.cache/tools}
if ((EUID != 0)); then
  echo "error: this test needs root: dnf installs below a folder with chroot" >&2
  exit 1
fi
test/tools/tools.sh --dir "$tools" rpmbuild createrepo_c dnf gpg
exec go test -tags e2e -count=1 -v -timeout 15m ./test/e2e/yum "$@" -args -bin "$PWD/bin"

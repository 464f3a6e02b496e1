#!/usr/bin/env bash
# Runs the proof on real hosts: installs what it needs, then test/cluster. Needs root,
# and bin/ as `make build` leaves it. Arguments go to the program:
#
#   test/cluster/run.sh -keep -steps content,build,cut,hosts,apply
#   test/cluster/run.sh -keep -from works
#
# NARU_TOOLS names another folder for the tools, NARU_LAB_CACHE one for the lab's content.
set -euo pipefail
cd "$(dirname "$0")/../.."

if ((EUID != 0)); then
  echo "error: hosts need root: for namespaces, mounts and cgroups" >&2
  exit 1
fi
tools=${NARU_TOOLS:-$PWD/.cache/tools}
cache=${NARU_LAB_CACHE:-$PWD/.cache/lab}
test/tools/tools.sh --dir "$tools" systemd-nspawn docker-registry debootstrap depmod nft ip ssh curl zstd >/dev/null
go build -o bin/lab-hosts ./test/lab/cmd/hosts
go build -o bin/lab-harbor ./test/lab/cmd/harbor
go build -o bin/lab-cluster ./test/cluster
exec bin/lab-cluster -bin "$PWD/bin" -cache "$cache" "$@"

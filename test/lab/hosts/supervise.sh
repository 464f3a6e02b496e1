#!/bin/bash
# supervise.sh BOOT NETNS HOSTNAME DIR TAG MACHINE [NSPAWN-OPTION...]: keeps a host running
# over reboots until it is powered off, or this is killed.
set -uo pipefail
boot=$1 dir=$4
shift
while :; do
	echo "-- boot at $(date -u +%FT%TZ)"
	bash "$boot" "$@" </dev/null
	code=$?
	echo "-- ended with $code"
	[ "$code" = 133 ] || break
done
rm -f "$dir/pid"
exit "$code"

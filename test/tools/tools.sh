#!/bin/sh
# tools.sh installs the other people's tools that naru is tested and compared with,
# and prints one line "name path" for each.
#
#   tools.sh [--dir DIR] TOOL...
#   tools.sh crane cosign2 cosign3 golangci-lint skopeo containerd docker-registry
#
# Go tools are built with "go install" in the version pinned here; a stamp beside
# the binary says which version and Go it came from, so that a second run does
# nothing. Debian's tools are taken as installed, else installed with apt-get as
# root, else unpacked below DIR (needs no root; the tools must then find their
# libraries on this machine).
#
# DIR is $NARU_TOOLS, or naru-tools in the user's cache folder.
set -eu

CRANE=github.com/google/go-containerregistry/cmd/crane@v0.22.1
COSIGN2=github.com/sigstore/cosign/v2/cmd/cosign@v2.6.5
COSIGN3=github.com/sigstore/cosign/v3/cmd/cosign@v3.1.3
GOLANGCI=github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.13.2
DISTRIBUTION=github.com/distribution/distribution/v3/cmd/registry@v3.1.1
HELM=helm.sh/helm/v3/cmd/helm@v3.22.0

usage() {
	sed -n '2,/^set/{/^set/!s/^# \{0,1\}//p;}' "$0"
}

say() { echo "tools.sh: $*" >&2; }

die() {
	say "$*"
	exit 1
}

# go_tool NAME BINARY MODULE@VERSION builds MODULE's BINARY as DIR/NAME.
go_tool() {
	stamp="$3 $(go env GOVERSION GOOS GOARCH | tr '\n' ' ')"
	if [ ! -x "$dir/$1" ] || [ "$(cat "$dir/.$1.stamp" 2>/dev/null)" != "$stamp" ]; then
		say "building $3"
		new=$(mktemp -d "$dir/.new-XXXXXX")
		# CGO off: the tools also run in a bare namespace or container.
		if ! (cd "$new" && GOBIN="$new" GOFLAGS= GOWORK=off CGO_ENABLED=0 go install -trimpath -ldflags='-s -w' "$3"); then
			rm -rf "$new"
			die "building $3 failed"
		fi
		mv -f "$new/$2" "$dir/$1"
		rm -rf "$new"
		echo "$stamp" >"$dir/.$1.stamp"
	fi
	echo "$1 $dir/$1"
}

# on_path BINARY prints where it is, in the places of root's PATH too.
on_path() {
	PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin" command -v "$1"
}

# unpacked BINARY prints where it is below DIR/deb.
unpacked() {
	for p in bin sbin; do
		if [ -x "$dir/deb/usr/$p/$1" ]; then
			echo "$dir/deb/usr/$p/$1"
			return 0
		fi
	done
	return 1
}

# unpack PACKAGE unpacks a package and those of its dependencies that are not
# installed, with package lists of our own if the machine has none.
unpack() {
	state="$dir/apt"
	mkdir -p "$state/lists/partial" "$state/cache/archives/partial" "$state/debs" "$dir/deb"
	apt="apt-get -qq -o Debug::NoLocking=true -o APT::Sandbox::User=root -o Acquire::Languages=none
		-o Acquire::Retries=3 -o Dir::Cache=$state/cache"
	if ! $apt --no-download --print-uris install "$1" >/dev/null 2>&1; then
		apt="$apt -o Dir::State::Lists=$state/lists"
		$apt update >&2 || say "updating some package lists failed"
	fi
	want=$($apt --no-install-recommends -s install "$1" | sed -n 's/^Inst \([^ ]*\).*/\1/p')
	[ -n "$want" ] || die "no package $1 in this machine's sources"
	rm -f "$state"/debs/*.deb
	# shellcheck disable=SC2086 # both are lists
	(cd "$state/debs" && $apt download $want >&2)
	for deb in "$state"/debs/*.deb; do
		dpkg-deb -x "$deb" "$dir/deb"
	done
}

# apt_tool BINARY PACKAGE finds or installs a Debian package's binary.
apt_tool() {
	if at=$(on_path "$1") || at=$(unpacked "$1"); then
		echo "$1 $at"
		return
	fi
	command -v apt-get >/dev/null || die "$1 is not installed and there is no apt-get here: install it by hand"
	if [ "$(id -u)" = 0 ]; then
		say "installing $2"
		if ! apt-get -qq install -y --no-install-recommends "$2" >&2; then
			apt-get -qq update >&2
			apt-get -qq install -y --no-install-recommends "$2" >&2 || die "installing $2 failed"
		fi
		at=$(on_path "$1") || die "$2 is installed, but $1 is not to be found"
	else
		say "not root: unpacking $2 below $dir/deb"
		unpack "$2"
		at=$(unpacked "$1") || die "$2 has no $1: as root, run: apt-get install $2"
		ldd "$at" 2>/dev/null | grep -q 'not found' && die "$at lacks libraries: as root, run: apt-get install $2"
	fi
	echo "$1 $at"
}

dir=${NARU_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/naru-tools}
while [ $# -gt 0 ]; do
	case $1 in
	-d | --dir)
		[ $# -ge 2 ] || die "$1 wants a folder"
		dir=$2
		shift 2
		;;
	-h | --help)
		usage
		exit 0
		;;
	-*)
		usage >&2
		exit 2
		;;
	*) break ;;
	esac
done
if [ $# -eq 0 ]; then
	usage >&2
	exit 2
fi
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)

# One run at a time installs; others wait for it.
if command -v flock >/dev/null; then
	exec 9>"$dir/.lock"
	flock 9
fi

for tool; do
	case $tool in
	crane) go_tool crane crane "$CRANE" ;;
	cosign2) go_tool cosign2 cosign "$COSIGN2" ;;
	cosign3) go_tool cosign3 cosign "$COSIGN3" ;;
	golangci-lint) go_tool golangci-lint golangci-lint "$GOLANGCI" ;;
	distribution) go_tool distribution registry "$DISTRIBUTION" ;;
	helm) go_tool helm helm "$HELM" ;;
	containerd) apt_tool containerd containerd ;;
	ctr) apt_tool ctr containerd ;;
	docker-registry) apt_tool docker-registry docker-registry ;;
	skopeo) apt_tool skopeo skopeo ;;
	zstd) apt_tool zstd zstd ;;
	jq) apt_tool jq jq ;;
	openssl) apt_tool openssl openssl ;;
	ip) apt_tool ip iproute2 ;;
	nft) apt_tool nft nftables ;;
	systemd-nspawn) apt_tool systemd-nspawn systemd-container ;;
	debootstrap) apt_tool debootstrap debootstrap ;;
	depmod) apt_tool depmod kmod ;;
	ssh) apt_tool ssh openssh-client ;;
	sshd) apt_tool sshd openssh-server ;;
	curl) apt_tool curl curl ;;
	rpmbuild) apt_tool rpmbuild rpm ;;
	createrepo_c) apt_tool createrepo_c createrepo-c ;;
	dnf) apt_tool dnf dnf ;;
	gpg) apt_tool gpg gnupg ;;
	*) die "unknown tool \"$tool\"" ;;
	esac
done

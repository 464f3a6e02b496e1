#!/usr/bin/env bash
# Proves docs/verify.md: runs every command of it, as it stands there, on a real
# bundle, and again on copies that were tampered with, in a network namespace
# without routes. Root is used where it is at hand, else a user namespace.
#
#   test/verify/run.sh COSIGN2 COSIGN3 MEDIA_DIR KEY
#
# COSIGN2 and COSIGN3 are the cosign programs, MEDIA_DIR what `bundle build` wrote,
# KEY the public key it is signed with.
set -euo pipefail

if (($# != 4)); then
  echo "usage: $0 COSIGN2 COSIGN3 MEDIA_DIR KEY" >&2
  exit 2
fi
if [[ ${NARU_VERIFY_SEALED:-} != yes ]]; then
  export NARU_VERIFY_SEALED=yes
  if ((EUID == 0)); then exec unshare -n -- "$0" "$@"; fi
  exec unshare -rn -- "$0" "$@"
fi

here=$(cd "$(dirname "$0")" && pwd)
english=$here/../../docs/verify.md
korean=$here/../../docs/verify.ko.md
cosign2=$(realpath "$1") cosign3=$(realpath "$2") media=$(realpath "$3") key=$(realpath "$4")

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# cosign keeps a trusted root in the home folder: have none, so that it could not
# lean on one. What the commands put into temporary files goes the same way.
export HOME=$work/home TMPDIR=$work/tmp
mkdir "$HOME" "$TMPDIR" "$work/bin2" "$work/bin3"
ln -s "$cosign2" "$work/bin2/cosign"
ln -s "$cosign3" "$work/bin3/cosign"

case $(uname -m) in
  x86_64) arch=amd64 ;;
  aarch64) arch=arm64 ;;
  *) echo "error: no install program for $(uname -m)" >&2; exit 1 ;;
esac

failures=0
fail() {
  echo "FAIL  $1" >&2
  if [[ -s $work/output ]]; then sed 's/^/      /' "$work/output" >&2; fi
  failures=$((failures + 1))
}

# sealed fails unless there is no network here at all.
sealed() {
  : >"$work/output"
  if (($(wc -l </proc/net/route) > 1)); then
    fail "this network namespace has routes"
  elif (exec 3<>/dev/tcp/192.0.2.1/443) 2>/dev/null; then
    fail "this network namespace reaches others"
  else
    echo "ok    no network"
  fi
}

# blocks FILE prints every command of FILE with its name.
blocks() {
  awk '/^<!-- run: .* -->$/ { name = $3; next }
       /^```sh$/ && name != "" { inside = 1; next }
       /^```$/ { inside = 0; name = "" }
       inside { print name "\t" $0 }' "$1"
}

# block NAME prints one command.
block() { blocks "$english" | awk -F '\t' -v name="$1" '$1 == name { print substr($0, length($1) + 2) }'; }

# command_of_page NAME FOLDER KEY [COSIGN] runs one command of the page as a reader would.
command_of_page() {
  local text path=$PATH
  text=$(block "$1" | sed "s/install-linux-amd64/install-linux-$arch/g")
  if [[ -z $text ]]; then
    echo "docs/verify.md has no command named $1" >"$work/output"
    return 99
  fi
  if [[ -n ${4:-} ]]; then path=$work/bin$4:$path; fi
  (cd "$2" && KEY=$3 MEDIUM=$2 PATH=$path bash -o pipefail -c "$text") >"$work/output" 2>&1
}

# accepts WHAT NAME FOLDER KEY [COSIGN]
accepts() {
  local what=$1
  shift
  if command_of_page "$@"; then echo "ok    $1${4:+ $4}: accepts $what"; else fail "$1${4:+ $4}: refuses $what"; fi
}

# refuses WHAT NAME FOLDER KEY [COSIGN]
refuses() {
  local what=$1 code=0
  shift
  command_of_page "$@" || code=$?
  if ((code == 0 || code == 99)); then fail "$1${4:+ $4}: accepts $what"; else echo "ok    $1${4:+ $4}: refuses $what"; fi
}

# copy NAME makes a copy of the medium that may be tampered with; volumes are links.
copy() {
  local to=$work/$1 file
  mkdir "$to"
  for file in "$media"/*; do
    case $file in
      *.zst) ln -s "$file" "$to/" ;;
      *) cp -r "$file" "$to/" ;;
    esac
  done
  echo "$to"
}

# flip FILE changes one bit in the middle of FILE.
flip() {
  local at byte
  at=$(($(stat -c %s "$1") / 2))
  byte=$(od -An -tu1 -j "$at" -N 1 "$1")
  printf "\\$(printf %03o $((byte ^ 1)))" | dd of="$1" bs=1 seek="$at" conv=notrunc status=none
}

# signature_checks HOW WHAT FOLDER KEY has every program look at bundle.json; HOW is
# accepts or refuses.
signature_checks() {
  "$1" "$2" cosign "$3" "$4" 2
  "$1" "$2" cosign "$3" "$4" 3
  "$1" "$2" jq "$3" "$4"
  "$1" "$2" sed "$3" "$4"
}

sealed

# The two pages have the same commands, and each of them is run below.
if ! diff <(blocks "$english") <(blocks "$korean") >"$work/output"; then fail "verify.ko.md has other commands than verify.md"; fi
named=$(blocks "$english" | cut -f 1 | sort -u | tr '\n' ' ')
: >"$work/output"
if [[ $named != "cosign files fingerprint install jq sed sums " ]]; then fail "docs/verify.md has the commands $named"; fi

# The bundle as it was built.
accepts "the bundle" fingerprint "$media" "$key"
if [[ $(tr -d ' \n' <"$work/output") != $(openssl pkey -pubin -in "$media/signer.pub" -outform DER | sha256sum | cut -c 1-64) ]]; then
  fail "fingerprint: signer.pub on the medium is another key"
fi
accepts "the bundle" sums "$media" "$key"
accepts "the bundle" files "$media" "$key"
accepts "the bundle" install "$media" "$key"
signature_checks accepts "the bundle" "$media" "$key"

# Another key.
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$work/other.key" 2>/dev/null
openssl pkey -in "$work/other.key" -pubout -out "$work/other.pub"
signature_checks refuses "another key" "$media" "$work/other.pub"
refuses "another key" sums "$media" "$work/other.pub"
refuses "another key" install "$media" "$work/other.pub"

# install itself, once it runs, is as strict as openssl was before it.
code=0
"$media/install-linux-$arch" verify "$media" --key "$work/other.pub" >"$work/output" 2>&1 || code=$?
if ((code == 6)); then echo "ok    install verify: exits with 6 for another key"; else fail "install verify: exits with $code for another key, want 6"; fi

# The same again, each time with one thing changed; the copy as such is accepted.
changed=$(copy plain)
signature_checks accepts "a copy" "$changed" "$key"
accepts "a copy" install "$changed" "$key"

changed=$(copy bundle)
flip "$changed/bundle.json"
signature_checks refuses "a changed bundle.json" "$changed" "$key"

changed=$(copy resigned) # an attacker signs what he changed with a key of his own
flip "$changed/bundle.json"
openssl dgst -sha256 -sign "$work/other.key" "$changed/bundle.json" | base64 -w 0 >"$work/forged"
sed -i "s|\"signature\":\"[^\"]*\"|\"signature\":\"$(cat "$work/forged")\"|" "$changed/bundle.json.sigstore.json"
(cd "$changed" && find . -type f ! -name 'SHA256SUMS*' -printf '%P\0' | sort -z | xargs -0 sha256sum) >"$changed/SHA256SUMS"
openssl dgst -sha256 -sign "$work/other.key" -out "$changed/SHA256SUMS.sig" "$changed/SHA256SUMS"
cp "$work/other.pub" "$changed/signer.pub"
signature_checks refuses "a forged bundle" "$changed" "$key"
refuses "a forged bundle" sums "$changed" "$key"
refuses "a forged bundle" install "$changed" "$key"

changed=$(copy sums)
flip "$changed/SHA256SUMS"
refuses "a changed SHA256SUMS" sums "$changed" "$key"
refuses "a changed SHA256SUMS" install "$changed" "$key"

changed=$(copy installer)
flip "$changed/install-linux-$arch"
refuses "a changed install program" install "$changed" "$key"
refuses "a changed install program" files "$changed" "$key"

changed=$(copy volume)
volume=$(find "$changed" -name '*.zst' | sort | head -n 1)
cp --remove-destination --reflink=auto "$(readlink "$volume")" "$volume"
chmod u+w "$volume"
flip "$volume"
refuses "a changed volume" files "$changed" "$key"
refuses "a changed volume" install "$changed" "$key"

changed=$(copy missing)
rm "$(find "$changed" -name '*.zst' | sort | head -n 1)"
refuses "a missing volume" files "$changed" "$key"
refuses "a missing volume" install "$changed" "$key"

if ((failures > 0)); then
  echo "error: $failures checks failed" >&2
  exit 1
fi
echo "all commands of docs/verify.md do what it says"

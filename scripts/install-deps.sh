#!/usr/bin/env bash
# Installs the system packages that Godwit needs, and only those that are missing.
#
#   scripts/install-deps.sh            what a build needs
#   scripts/install-deps.sh --test     also what the tests start (the foreign peers)
#   scripts/install-deps.sh --bench    also what the benchmarks start
#   scripts/install-deps.sh --deep     also what scripts/deep starts
#
# It supports Debian 12 and its derivatives, as root or with sudo. On other systems it lists the missing packages and changes
# nothing. When no package is missing it ends within milliseconds.
set -euo pipefail

set_name=build
case "${1:-}" in
    "") ;;
    --test) set_name=test ;;
    --bench) set_name=bench ;;
    --deep) set_name=deep ;;
    *) echo "usage: $0 [--test | --bench | --deep]" >&2; exit 2 ;;
esac

missing=()
command_from() { command -v "$1" >/dev/null 2>&1 || missing+=("$2"); }   # COMMAND PACKAGE
library_from() { pkg-config --exists "$1" 2>/dev/null || missing+=("$2"); }   # PKG-CONFIG-NAME PACKAGE

# Some programs are in folders that only root's PATH contains.
PATH="$PATH:/usr/sbin:/sbin"

command_from git git
command_from make make
command_from pkg-config pkg-config
library_from libnghttp2 libnghttp2-dev
library_from sqlite3 libsqlite3-dev
library_from zlib zlib1g-dev

if [ "$set_name" = deep ]; then
    command_from busybox busybox-static
    command_from mke2fs e2fsprogs
    command_from mmdebstrap mmdebstrap
    command_from podman podman
    command_from runc runc
    command_from systemd-nspawn systemd-container
    if [ "$(uname -m)" = x86_64 ]; then command_from qemu-system-x86_64 qemu-system-x86; fi
fi
if [ "$set_name" = test ] || [ "$set_name" = deep ]; then
    command_from curl curl
    command_from nghttp nghttp2-client
    command_from nghttpd nghttp2-server
    command_from nginx nginx-light
    command_from openssl openssl
    command_from python3 python3
    python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
    command_from chromium chromium
    command_from promtool prometheus
    command_from strace strace
    command_from tinyproxy tinyproxy
    command_from ip iproute2
    # The client library, for a build with the trait Postgres, and the server, which is not in PATH.
    library_from libpq libpq-dev
    compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || command_from initdb postgresql
    command_from psql postgresql-client
    command_from nft nftables
    # The client programs of the README.
    command_from node nodejs
    command_from go golang-go
elif [ "$set_name" = bench ]; then
    command_from h2load nghttp2-client
    command_from nghttpd nghttp2-server
    command_from openssl openssl
fi

[ ${#missing[@]} -gt 0 ] || exit 0

if ! command -v apt-get >/dev/null 2>&1; then
    echo "Godwit needs these packages (Debian's names), and this system has no apt-get to install them:" >&2
    printf '  %s\n' "${missing[@]}" >&2
    echo "Install them by hand, then run the same command again." >&2
    exit 1
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null 2>&1; then
        echo "Godwit needs these packages; run this as root (there is no sudo here):" >&2
        echo "  apt-get install --no-install-recommends ${missing[*]}" >&2
        exit 1
    fi
    as_root=(sudo)
    # Without a terminal sudo cannot ask for a password, so it must fail instead of waiting indefinitely.
    [ -t 0 ] || as_root=(sudo -n)
fi

# The tests start nginx, PostgreSQL and the Prometheus tools themselves, on their own ports. Installing these packages must not
# start services on this machine, so apt runs under a policy that denies it. An existing policy stays in place.
policy=/usr/sbin/policy-rc.d
if [ "$set_name" != build ] && [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
    "${as_root[@]}" chmod 755 "$policy"
    trap '"${as_root[@]}" rm -f "$policy"' EXIT
fi

echo "Installing: ${missing[*]}"
apt() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o Dpkg::Use-Pty=0 "$@" </dev/null; }
# The package lists of a new machine are empty or old. If the mirror fails, the install below reports it.
apt update >/dev/null || echo "apt-get update failed; continuing with the existing package lists" >&2
apt install -y --no-install-recommends "${missing[@]}" >/dev/null

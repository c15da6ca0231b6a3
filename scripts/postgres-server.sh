#!/usr/bin/env bash
# Runs a private PostgreSQL in the foreground, on 127.0.0.1. The system's own cluster is not touched.
#
#   scripts/postgres-server.sh [--with-parent] FOLDER PORT [NAME=VALUE]...
#
# Creates a cluster in FOLDER if there is none, with the superuser `godwit`, who needs no password, and the database `postgres`.
# NAME=VALUE are settings of the server, such as fsync=off. The server replaces this process: SIGINT stops it and disconnects its
# clients, SIGQUIT stops it without a checkpoint. PostgreSQL refuses to run as root, so for root it runs as `postgres`, or as user
# 65534 (Debian's unprivileged user), which must be able to reach FOLDER.
#
# With --with-parent the server ends, and FOLDER is deleted, within seconds of the end of the calling process.
set -euo pipefail

usage() { echo "usage: $0 [--with-parent] FOLDER PORT [NAME=VALUE]..." >&2; exit 2; }

parent=
if [ "${1:-}" = --with-parent ]; then parent=$PPID; shift; fi
[ $# -ge 2 ] || usage
folder=$1 port=$2
shift 2
case $port in *[!0-9]* | "") usage ;; esac

bin=$(find /usr/lib/postgresql -mindepth 2 -maxdepth 2 -name bin 2>/dev/null | sort -V | tail -1)
if [ -z "$bin" ]; then
    if ! bin=$(dirname "$(command -v initdb)" 2>/dev/null); then
        echo "PostgreSQL is not installed (scripts/install-deps.sh --test installs it)" >&2
        exit 1
    fi
fi

mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
drop=()
if [ "$(id -u)" -eq 0 ]; then
    user=postgres
    id "$user" >/dev/null 2>&1 || user=65534
    drop=(setpriv --reuid="$user" --regid="$(id -g "$user")" --clear-groups)
    chown "$user" "$folder"
fi
clean=(env -i PATH="$bin:/usr/bin:/bin" LC_ALL=C.UTF-8 TZ=UTC)
cd "$folder"

if [ ! -e PG_VERSION ]; then
    "${drop[@]}" "${clean[@]}" initdb -D "$folder" -A trust -U godwit -E UTF8 --no-sync --no-instructions >/dev/null
fi

settings=(-c listen_addresses=127.0.0.1 -c port="$port" -c unix_socket_directories= -c shared_buffers=32MB)
for setting in "$@"; do
    settings+=(-c "$setting")
    # The server takes a private key only from its own user.
    case $setting in ssl_key_file=*) [ "$(id -u)" -ne 0 ] || chown "$user" "${setting#*=}" ;; esac
done

if [ -n "$parent" ]; then
    # In two steps, so that the server does not inherit a child.
    (
        (
            trap '' INT TERM
            while [ -e "/proc/$parent" ] && [ -e "/proc/$$" ]; do sleep 1; done
            [ ! -e "/proc/$parent" ] || exit 0
            kill -QUIT $$ 2>/dev/null || true
            for _ in $(seq 100); do
                [ -e "/proc/$$" ] || break
                sleep 0.1
            done
            rm -rf "$folder"
        ) </dev/null >/dev/null 2>&1 &
    )
fi

exec "${drop[@]}" "${clean[@]}" postgres -D "$folder" "${settings[@]}"

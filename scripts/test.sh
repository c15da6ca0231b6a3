#!/usr/bin/env bash
# Runs the tests that `swift build --build-tests` has built, without privileges.
#
#   scripts/test.sh [FILTER]     a regular expression of test names
#
# Called by root, it runs them as the owner of this repository, or as user 65534 (Debian's unprivileged user) if that is root, and
# then runs as root the tests that need it: those with "as root" in their names. Other users skip these. The tests write to
# temporary folders and to .build/tests, where environments for Python, Go's cache and pictures are kept between runs.
#
# It calls the test program itself, because `swift test` writes to .build and to the home folder. With GODWIT_UPDATE_DOCS=1 the
# tests write pages of the documentation, so they run as the caller.
set -euo pipefail
cd "$(dirname "$0")/.."

filter=()
[ -z "${1:-}" ] || filter=(--filter "$1")
tests="$(${SWIFT:-swift} build --explicit-target-dependency-import-check error --show-bin-path)/godwitPackageTests.xctest"
words=("$tests" --testing-library swift-testing --no-parallel "${filter[@]}")
mkdir -p .build/tests

# Status 69: no test matches the filter.
run() { local status=0; "$@" || status=$?; [ "$status" -eq 69 ] || return "$status"; }

# Into a pipe, too, the tests would write colours.
[ -t 2 ] || export NO_COLOR=1

if [ -n "${GODWIT_UPDATE_DOCS:-}" ]; then run "${words[@]}"; exit; fi
if [ "$(id -u)" -ne 0 ]; then GODWIT_UNPRIVILEGED_TESTS=$(id -u) run "${words[@]}"; exit; fi

user=$(stat -c %u Package.swift)
drop=(setpriv --no-new-privs --inh-caps=-all --bounding-set=-all)
group=$(stat -c %g Package.swift)
if [ "$user" = 0 ]; then user=65534 group=65534; fi
drop_user=(--reuid="$user" --regid="$group" --clear-groups)
if "${drop[@]}" "${drop_user[@]}" test -x "$tests" -a -r "$PWD/Package.swift" 2>/dev/null; then
    drop+=("${drop_user[@]}")
else
    echo "test.sh: user $user cannot read $PWD, so the tests run as root without capabilities" >&2
    user=0
fi
chown -R "$user" .build/tests
home=$(mktemp -d)
chown "$user" "$home"
trap 'rm -rf "$home"' EXIT
echo "test.sh: without privileges, as user $user"
status=0
drop+=(env HOME="$home" XDG_CACHE_HOME="$home" GODWIT_UNPRIVILEGED_TESTS="$user")
run "${drop[@]}" "${words[@]}" --skip 'as root' || status=$?
echo "test.sh: the tests that need root"
pattern=${1:-}
case $pattern in
    "") pattern='^(?=.*as root)' ;;
    ^*) pattern="^(?=.*as root)${pattern#^}" ;;
    *) pattern="^(?=.*as root).*($pattern)" ;;
esac
run "$tests" --testing-library swift-testing --no-parallel --filter "$pattern" || status=$?
exit "$status"

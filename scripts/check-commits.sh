#!/usr/bin/env bash
# Checks the form of new commits: a title in the imperative of at most 60 characters, and a body that gives the reason.
#
#   scripts/check-commits.sh [BASE]    the commits of BASE..HEAD; by default all since the rule was introduced
#   scripts/check-commits.sh --test    the titles that the script must refuse and accept
#
# Exit status 1 and one line for each commit that breaks the rule.
set -euo pipefail
cd "$(dirname "$0")/.."

# Why a title is refused; empty when it is good.
fault_of_title() {
    local title=$1 first=${1%% *}
    if [ "${#title}" -gt 60 ]; then echo "the title has ${#title} characters, 60 are allowed"; return; fi
    case "$title" in
        *';'*) echo "the title holds two changes (;)"; return ;;
        *.) echo "the title ends with a full stop"; return ;;
        *:*) echo "the title has a prefix or a second clause (:)"; return ;;
        [Ww][Ii][Pp]*) echo "the title says that the work is not finished"; return ;;
        [A-Z]*) ;;
        *) echo "the title does not begin with a capital letter"; return ;;
    esac
    case "$first" in
        Address | Process | Pass | Access | Bypass | Compress | Discuss | Express | Focus | Guess | Suppress) ;;
        Embed | Feed | Need | Seed | Shed | Speed | Exceed | Proceed | Bring | String) ;;
        *ed | *ing | *s | A | An | The | It | No | New | When | What | Each) echo "the title is not in the imperative: '$first'" ;;
    esac
}

if [ "${1:-}" = --test ]; then
    status=0
    while IFS= read -r title; do
        [ -n "$(fault_of_title "$title")" ] || { echo "accepted: $title"; status=1; }
    done <<'TITLES'
Added a test
Fixes the drain
Adding a key
wip
the store waits
Queue: count batches
Count batches; rename the queue
Count batches.
A store that does not answer is a 503
Count the batches of every app in every lane of every store at once
TITLES
    while IFS= read -r title; do
        fault=$(fault_of_title "$title")
        [ -z "$fault" ] || { echo "refused: $title ($fault)"; status=1; }
    done <<'TITLES'
Count batches by lane
Process signals in order
Return 503 while the store is unavailable
Speed up the claim query
TITLES
    exit "$status"
fi

# The last commit before the rule.
base=${1:-051fa80}
if ! git rev-parse --quiet --verify "$base^{commit}" >/dev/null; then
    echo "check-commits: $base is not in this clone; fetch the whole history" >&2
    exit 1
fi

status=0
while read -r commit; do
    title=$(git log -1 --format=%s "$commit")
    fault=$(fault_of_title "$title")
    [ "$(git rev-list --parents -n 1 "$commit" | wc -w)" -le 2 ] || fault="a merge commit: rebase instead"
    [ -n "$fault" ] || [ -n "$(git log -1 --format=%b "$commit")" ] || fault="no body that gives the reason"
    if [ -n "$fault" ]; then
        echo "${commit:0:10} $title: $fault" >&2
        status=1
    fi
done < <(git rev-list --reverse "$base..HEAD")
exit "$status"

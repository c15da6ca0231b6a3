#!/usr/bin/env bash
# Simulates power cuts, which lose everything in the page cache that was not flushed, and looks up every acknowledged push.
#
# The gateway's store lies on ext4 in an image file behind a loop device with direct I/O, so the image holds what the
# gateway's fdatasync has sent to the disk, and nothing else. At a random moment under load the script stops the gateway,
# copies the image, mounts the copy as a machine would find its disk after the cut, and starts a new gateway on it. Each
# push whose acceptance a client has read must be there.
#
#   sudo scripts/power-cut.sh         6 cuts of the gateway, and 6 of the control
#   sudo scripts/power-cut.sh 10      more; RELEASE_DIR=FOLDER uses the executable there instead of the debug build
#
# The control runs the same gateway with a shim that makes fdatasync and fsync return without flushing, which equals a
# weaker setting of the database. It must lose pushes; otherwise the test could not detect a loss.
#
# It models the loss of the page cache, and neither a drive that ignores flushes nor torn sectors.
# Exit status: 0 when the promise holds, 1 when it does not, 77 when this machine cannot run it.
set -euo pipefail
cd "$(dirname "$0")/.."
skip() { echo "power-cut.sh: skipped: $1" >&2; exit 77; }
[ "$(id -u)" -eq 0 ] || skip "it mounts images, which needs root"
for program in losetup mkfs.ext4 mount umount curl cc python3; do
    command -v "$program" >/dev/null || skip "$program is not installed"
done
[ -e /dev/loop-control ] || skip "this machine has no loop devices"
if [ -z "${RELEASE_DIR:-}" ]; then
    swift build --explicit-target-dependency-import-check error --product godwit
    RELEASE_DIR="$(swift build --show-bin-path)"
fi
exec python3 -B scripts/power-cut.py "$RELEASE_DIR/godwit" "${1:-6}"

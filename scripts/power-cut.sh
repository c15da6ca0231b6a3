#!/usr/bin/env bash
# A power cut: what is in the page cache and was never flushed is gone. Is every acknowledged push still there?
#
# The gateway's store lies on ext4 in an image file behind a loop device with direct I/O, so the image holds what the
# gateway's fdatasync has sent to the disk, and nothing else. At a random moment under load the gateway is stopped, the
# image is copied, the copy is mounted as a machine would find its disk after the cut, and a new gateway opens it. Each
# push whose acceptance a client has read must be there.
#
#   sudo scripts/power-cut.sh         # 6 cuts as shipped, and 6 of the control
#   sudo scripts/power-cut.sh 10      # more
#
# The control runs the same gateway with a shim that makes fdatasync and fsync return at once: what a weaker setting of the
# database amounts to. It must lose some, else the test could not see a loss.
#
# Models the loss of the page cache; neither a drive that lies about flushes nor torn sectors.
# Exit status: 0 as promised, 1 not, 77 cannot run here.
set -euo pipefail
cd "$(dirname "$0")/.."
skip() { echo "power-cut.sh: skipped: $1" >&2; exit 77; }
[ "$(id -u)" -eq 0 ] || skip "it mounts images, which needs root"
for program in losetup mkfs.ext4 mount umount curl cc python3; do
    command -v "$program" >/dev/null || skip "$program is not installed"
done
[ -e /dev/loop-control ] || skip "this machine has no loop devices"
swift build --explicit-target-dependency-import-check error --product godwit
exec python3 scripts/power-cut.py "$(swift build --show-bin-path)/godwit" "${1:-6}"

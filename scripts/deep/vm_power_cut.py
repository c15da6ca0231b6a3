#!/usr/bin/env -S python3 -B
"""Cuts the power of a virtual machine under load, and looks up every acknowledged push after the next start.

    sudo scripts/deep/vm_power_cut.py [CUTS]     default 4; RELEASE_DIR=FOLDER uses the executable there, else the debug build

qemu runs a Debian 12 with the shipped unit, without hardware virtualisation. `kill -9` of qemu loses the page cache of the guest's
kernel, as a power cut does. Each push whose acceptance a client has read must be there after the next start of the machine.

The control runs the same machine with a library whose fdatasync and fsync do nothing. It must lose pushes; otherwise the cuts
could not detect a loss. Unlike scripts/power-cut.sh this cuts a whole system with its own kernel; what the guest has written to
its disk without a flush survives here and not there.

Exit status: 0 when the promise holds, 1 when it does not, 77 when this machine cannot run it.
"""

import glob
import os
import platform
import random
import shutil
import subprocess
import sys
import time

import support
from support import REPOSITORY, check, run, wait_for, write

PORT = 8025
MODULES = [
    "virtio", "virtio_ring", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci", "virtio_blk", "failover",
    "net_failover", "virtio_net", "crc16", "crc32c_generic", "libcrc32c", "mbcache", "jbd2", "ext4",
]

# Modules are loaded in any order: four rounds resolve their dependencies.
INIT = """#!/bin/busybox sh
b=/bin/busybox
$b mount -t proc proc /proc; $b mount -t sysfs sys /sys; $b mount -t devtmpfs dev /dev
for round in 1 2 3 4; do for m in /modules/*.ko; do $b insmod $m 2>/dev/null; done; done
$b sleep 0.3; $b mount -t ext4 /dev/vda /root
$b ifconfig lo 127.0.0.1 up; $b ifconfig eth0 10.0.2.15 netmask 255.255.255.0 up; $b route add default gw 10.0.2.2
exec $b switch_root /root /sbin/init
"""

def make_kernel(folder):
    """Downloads Debian's kernel for virtual machines, and makes the first file system that it sees."""
    package = run("apt-cache", "depends", "linux-image-cloud-amd64").split("Depends: ")[1].split()[0]
    os.makedirs(f"{folder}/download")
    run("apt-get", "download", "-q", package, cwd=f"{folder}/download")
    run("dpkg", "-x", *glob.glob(f"{folder}/download/*.deb"), f"{folder}/kernel")
    first = f"{folder}/first"
    for name in ("bin", "modules", "proc", "sys", "dev", "root"):
        os.makedirs(f"{first}/{name}")
    shutil.copy(shutil.which("busybox"), f"{first}/bin/busybox")
    write(f"{first}/init", INIT)
    os.chmod(f"{first}/init", 0o755)
    for name in MODULES:
        for path in glob.glob(f"{folder}/kernel/lib/modules/**/{name}.ko", recursive=True):
            shutil.copy(path, f"{first}/modules")
    subprocess.run("find . | busybox cpio -o -H newc > ../initrd", shell=True, check=True, cwd=first, stderr=subprocess.DEVNULL)
    return glob.glob(f"{folder}/kernel/boot/vmlinuz-*")[0], f"{folder}/initrd"


def make_root(godwit, folder):
    """A root with the shipped unit. Nothing answers at its APNs, so that every push waits in the store."""
    root = f"{folder}/root"
    support.unpack_debian(root)
    support.install_executable(godwit, root)
    run("chroot", root, "adduser", "--system", "--group", "--home", "/var/lib/godwit", "--no-create-home", "godwit")
    os.makedirs(f"{root}/etc/godwit")
    write(f"{root}/etc/godwit/godwit.yaml", support.configuration(PORT, 1, host="0.0.0.0"))
    run("openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", f"{root}/etc/godwit/AuthKey.p8")
    run(
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=localhost",
        "-keyout", "/dev/null", "-out", f"{root}/etc/godwit/ca.pem",
    )
    run("chmod", "-R", "a+rX", f"{root}/etc/godwit")
    shutil.copy(f"{REPOSITORY}/deploy/godwit.service", f"{root}/etc/systemd/system/godwit.service")
    run("chroot", root, "systemctl", "enable", "godwit")
    return root


def make_disk(root, image):
    run("mke2fs", "-q", "-t", "ext4", "-d", root, image, "2G")


class Machine:
    def __init__(self, kernel, initrd, image, folder):
        self.port = support.free_port()
        self.console = f"{folder}/console"
        self.process = subprocess.Popen(
            [
                "qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-smp", "2", "-m", "1024", "-display", "none", "-no-reboot",
                "-serial", f"file:{self.console}", "-kernel", kernel, "-initrd", initrd,
                "-append", "console=ttyS0 root=/dev/vda rw quiet", "-drive", f"file={image},format=raw,if=virtio",
                "-netdev", f"user,id=n,hostfwd=tcp:127.0.0.1:{self.port}-10.0.2.15:{PORT}", "-device", "virtio-net-pci,netdev=n",
            ],
            stdin=subprocess.DEVNULL,
        )
        self.gateway = support.Gateway(self.port)

    def is_ready(self):
        if self.process.poll() is not None:
            raise support.Failed("qemu ended")
        return self.gateway.is_ready()

    def wait(self):
        try:
            wait_for("ready gateway in the machine", self.is_ready, 300)
        except support.Failed:
            with open(self.console, errors="replace") as console:
                print(console.read()[-2000:])
            raise

    def cut(self):
        self.process.kill()
        self.process.wait()


def cut(machine, accepted):
    """Loads the machine and cuts its power. Adds the acknowledged pushes to `accepted`."""
    clients = [support.LoadClient(machine.gateway, count) for count in (1, 1, 1, 50)]
    for client in clients:
        client.start()
    time.sleep(random.uniform(2, 6))
    machine.cut()
    for client in clients:
        client.is_over = True
        client.join(60)
        accepted += client.accepted


def lost_pushes(disk, cuts, machine_of):
    """Cuts the power `cuts` times. Returns the numbers of acknowledged and lost pushes."""
    accepted, lost = [], 0
    machine = machine_of(disk)
    try:
        machine.wait()
        for number in range(1, cuts + 1):
            before = len(accepted)
            cut(machine, accepted)
            machine = machine_of(disk)
            machine.wait()
            lost = machine.gateway.states(accepted).count("unknown")
            print(f"cut {number}: {len(accepted) - before} pushes acknowledged, {lost} of {len(accepted)} lost", flush=True)
    finally:
        machine.cut()
    return len(accepted), lost


def checks(folder):
    cuts = int(sys.argv[1]) if len(sys.argv) > 1 else 4
    godwit = support.executable()
    kernel, initrd = make_kernel(folder)
    root = make_root(godwit, folder)
    disk = f"{folder}/disk"

    def machine_of(disk):
        return Machine(kernel, initrd, disk, folder)

    make_disk(root, disk)
    print("as shipped")
    accepted, lost = lost_pushes(disk, cuts, machine_of)
    check(accepted > 0 and lost == 0, f"all of {accepted} acknowledged pushes are there after {cuts} power cuts")

    write(f"{folder}/shim.c", support.SHIM)
    run("cc", "-shared", "-fPIC", "-o", f"{root}/usr/local/lib/shim.so", f"{folder}/shim.c")
    os.makedirs(f"{root}/etc/systemd/system/godwit.service.d")
    write(f"{root}/etc/systemd/system/godwit.service.d/shim.conf", "[Service]\nEnvironment=LD_PRELOAD=/usr/local/lib/shim.so\n")
    os.remove(disk)
    make_disk(root, disk)
    print("control without sync")
    accepted, lost = lost_pushes(disk, 1, machine_of)
    check(lost > 0, f"the control without sync loses pushes ({lost} of {accepted}), so the cuts detect losses")


if __name__ == "__main__":
    support.require("mmdebstrap", "qemu-system-x86_64", "mke2fs", "busybox", "openssl", "cc", "strip", "dpkg")
    if platform.machine() != "x86_64":
        support.skip("it needs an x86_64 machine")
    support.main(checks)

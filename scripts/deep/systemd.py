#!/usr/bin/env -S python3 -B
"""Runs deploy/godwit.service under a real systemd, and delivers pushes through it.

    sudo scripts/deep/systemd.py        RELEASE_DIR=FOLDER uses the executable there, otherwise the debug build

systemd is the first process of a Debian 12 root that systemd-nspawn starts. The unit is installed by the steps of
docs/guides/deploy-systemd.md. The script checks that the process has its own user, no capabilities and a seccomp filter, that a
push is delivered, that a start ends when the gateway serves, that a reload stops nothing and is refused if the
configuration has problems, that systemd restarts the gateway after kill -9 and nothing accepted is lost, and that a stop
succeeds.

Exit status: 0 when all of that holds, 1 when something does not, 77 when this machine cannot run it.
"""

import os
import shutil
import subprocess
import time

import support
from support import REPOSITORY, check, run, wait_for, write


class Machine:
    """A root whose first process is systemd. It shares the network of this machine."""

    def __init__(self, root, log):
        self.log = log
        with open(log, "w") as output:
            self.process = subprocess.Popen(
                ["systemd-nspawn", "--quiet", "--directory", root, "--register=no", "--keep-unit", "--boot"],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            )
        self.leader = wait_for("first process of the root", self.child)
        wait_for("systemd", lambda: self.systemctl("is-system-running") in ("running", "degraded"))

    def child(self):
        if self.process.poll() is not None:
            with open(self.log) as log:
                raise support.Failed(f"systemd-nspawn ended: {log.read()[-1000:]}")
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children") as children:
            return children.read().strip()

    def inside(self, *words):
        words = ["nsenter", "--target", self.leader, "--mount", "--pid", "--uts", "--ipc", *words]
        return subprocess.run(words, capture_output=True, text=True).stdout.strip()

    def systemctl(self, *words):
        return self.inside("systemctl", *words)

    def journal(self):
        return self.inside("journalctl", "--no-pager", "--unit", "godwit", "--lines", "30")

    def property(self, name):
        return self.systemctl("show", "--value", "--property", name, "godwit")

    def gateway_process(self):
        """The process ID of the gateway on this machine."""
        inner = self.property("MainPID")
        for name in os.listdir("/proc"):
            if name.isdigit():
                try:
                    fields = support.status_of_process(name)
                except OSError:
                    continue
                if fields.get("Name") == "godwit" and fields["NSpid"].split()[1:] == [inner]:
                    return name
        return None

    def stop(self):
        self.inside("systemctl", "poweroff")
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def install(godwit, root, simulator, port):
    """The steps of docs/guides/deploy-systemd.md."""
    support.install_executable(godwit, root)
    run("chroot", root, "adduser", "--system", "--group", "--home", "/var/lib/godwit", "--no-create-home", "godwit")
    run("chroot", root, "install", "-d", "-m", "0750", "-g", "godwit", "/etc/godwit")
    write(f"{root}/etc/godwit/godwit.yaml", support.configuration(port, simulator.port))
    for file in ("AuthKey.p8", "ca.pem"):
        shutil.copy(f"{os.path.dirname(simulator.log)}/{file}", f"{root}/etc/godwit/{file}")
    for file in ("godwit.yaml", "AuthKey.p8", "ca.pem"):
        run("chroot", root, "chgrp", "godwit", f"/etc/godwit/{file}")
        os.chmod(f"{root}/etc/godwit/{file}", 0o640)
    shutil.copy(f"{REPOSITORY}/deploy/godwit.service", f"{root}/etc/systemd/system/godwit.service")
    run("chroot", root, "systemctl", "enable", "godwit")


def checks(folder):
    godwit = support.executable()
    root, port = f"{folder}/root", support.free_port()
    support.unpack_debian(root)
    simulator = support.Simulator(godwit, f"{folder}/simulator")
    machine = None
    try:
        install(godwit, root, simulator, port)
        machine = Machine(root, f"{folder}/console")
        gateway = support.Gateway(port)
        wait_for("ready gateway", gateway.is_ready)
        wait_for("active unit", lambda: machine.property("ActiveState") == "active")
        check(machine.property("StatusText").startswith("serving on http"), "the unit is active, and its status says that it serves")
        machine.systemctl("restart", "godwit")
        check(gateway.is_ready(), "a restart ends when the gateway serves")
        fields = support.status_of_process(machine.gateway_process())
        check(fields["Uid"].split()[0] != "0", "the process does not run as root")
        sets = {name: fields[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}
        check(all(int(value, 16) == 0 for value in sets.values()), "the process has no capabilities")
        check(fields["Seccomp"] == "2" and fields["NoNewPrivs"] == "1", "a seccomp filter and NoNewPrivileges are active")
        gateway.deliver(simulator)
        check(True, "a push is delivered")

        process = machine.property("MainPID")
        machine.systemctl("reload", "godwit")
        wait_for("reload", lambda: "reloaded" in machine.journal())
        check(machine.property("ActiveState") == "active", "the unit is active after a reload")
        configuration = f"{root}/etc/godwit/godwit.yaml"
        with open(configuration) as file:
            text = file.read()
        write(configuration, text + "nonsense: true\n")
        machine.systemctl("reload", "godwit")
        check("nonsense is not a known key" in machine.journal(), "a reload with a wrong configuration names the problem")
        write(configuration, text)
        check(machine.property("MainPID") == process, "no reload stops the gateway")
        gateway.deliver(simulator)
        check(True, "a push is delivered after the reloads")

        waiting = gateway.push(not_before=int(time.time()) + 3600)
        os.kill(int(machine.gateway_process()), 9)
        wait_for("restart", lambda: machine.property("NRestarts") == "1" and gateway.is_ready())
        check(True, "systemd restarts the gateway after kill -9")
        check(gateway.states([waiting]) == ["scheduled"], "a push accepted before the kill is there")
        gateway.deliver(simulator)
        check(True, "a push is delivered after the restart")

        machine.systemctl("stop", "godwit")
        check(machine.property("Result") == "success" and machine.property("ExecMainStatus") == "0", "a stop succeeds")
        check(machine.property("ActiveState") == "inactive", "the unit is inactive after the stop")
    except support.Failed:
        if machine:
            print(machine.journal())
        raise
    finally:
        if machine:
            machine.stop()
        simulator.stop()
    print("The shipped unit runs under systemd.")


if __name__ == "__main__":
    support.require("mmdebstrap", "systemd-nspawn", "nsenter", "strip")
    support.main(checks)

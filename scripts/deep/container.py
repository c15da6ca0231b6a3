#!/usr/bin/env -S python3 -B
"""Runs the gateway in a container as uid 10001 with all capabilities dropped, and delivers pushes through it.

    sudo scripts/deep/container.py      RELEASE_DIR=FOLDER uses the executable there, otherwise the debug build

The image is the last stage of deploy/Containerfile, on a Debian 12 root, with this executable instead of the one that the first
stage builds. The container runs with the options of docs/guides/deploy-container.md, limits on memory and processes, and the
network of this machine. The script checks the identity and the limits of the process, that a push is delivered, that a push
accepted before kill -9 is there after the next start, and that a stop ends with status 0.

Exit status: 0 when all of that holds, 1 when something does not, 77 when this machine cannot run it.
"""

import os
import shutil
import time

import support
from support import REPOSITORY, check, run, wait_for, write

# Podman's own limits can be above the hard limits of this machine, and crun needs cgroups of one version.
SETTINGS = """[containers]
default_ulimits=["nofile=1024:1024","nproc=1024:1024"]
[engine]
runtime="runc"
cgroup_manager="cgroupfs"
events_logger="file"
"""


class Podman:
    """Podman with storage of its own."""

    def __init__(self, folder):
        write(f"{folder}/containers.conf", SETTINGS)
        os.environ["CONTAINERS_CONF"] = f"{folder}/containers.conf"
        self.words = ["podman", "--root", f"{folder}/storage", "--runroot", f"{folder}/run", "--storage-driver", "vfs"]

    def __call__(self, *words, **options):
        return run(*self.words, *words, **options)


def last_stage():
    """The last stage of deploy/Containerfile, which takes the executable from the build context."""
    with open(f"{REPOSITORY}/deploy/Containerfile") as file:
        text = file.read()
    arguments = "".join(line + "\n" for line in text.splitlines() if line.startswith("ARG "))
    stage = "FROM " + text.split("\nFROM ")[-1]
    copy = "COPY --from=build /out/godwit"
    if copy not in stage:
        raise support.Failed(f"deploy/Containerfile has no line `{copy}`")
    return arguments + stage.replace(copy, "COPY godwit")


def checks(folder):
    godwit = support.executable()
    root, port = f"{folder}/root", support.free_port()
    support.unpack_debian(root)
    support.install_executable(godwit, root)
    podman = Podman(folder)
    simulator = support.Simulator(godwit, f"{folder}/simulator")
    try:
        os.makedirs(f"{folder}/context")
        shutil.move(f"{root}/usr/local/bin/godwit", f"{folder}/context/godwit")
        write(f"{folder}/context/Containerfile", last_stage())
        run("tar", "--create", "--numeric-owner", "--file", f"{folder}/root.tar", "--directory", root, ".")
        podman("import", "--quiet", f"{folder}/root.tar", "localhost/base")
        podman(
            "build", "--quiet", "--network", "host", "--build-arg", "BASE_IMAGE=localhost/base", "--tag", "localhost/godwit",
            f"{folder}/context",
        )
        check(podman("inspect", "--format", "{{.Config.User}}", "localhost/godwit") == "10001:10001", "the image's user is 10001")

        os.makedirs(f"{folder}/config")
        write(f"{folder}/config/godwit.yaml", support.configuration(port, simulator.port))
        for file in ("AuthKey.p8", "ca.pem"):
            shutil.copy(f"{folder}/simulator/{file}", f"{folder}/config/{file}")
        run("chown", "-R", "10001:10001", f"{folder}/config")
        podman(
            "run", "--detach", "--name", "godwit", "--stop-timeout", "40", "--read-only", "--tmpfs", "/tmp", "--cap-drop", "all",
            "--security-opt", "no-new-privileges", "--memory", "512m", "--pids-limit", "128", "--network", "host",
            "--volume", "godwit-data:/var/lib/godwit", "--volume", f"{folder}/config:/etc/godwit:ro", "localhost/godwit",
        )
        gateway = support.Gateway(port)
        wait_for("ready gateway", gateway.is_ready)
        process = podman("inspect", "--format", "{{.State.Pid}}", "godwit")
        fields = support.status_of_process(process)
        check(fields["Uid"].split() == ["10001"] * 4 and fields["Gid"].split() == ["10001"] * 4, "the process is uid and gid 10001")
        sets = {name: fields[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}
        check(all(int(value, 16) == 0 for value in sets.values()), "the process has no capabilities")
        check(fields["NoNewPrivs"] == "1", "no-new-privileges is active")
        gateway.deliver(simulator)
        check(True, "a push is delivered")
        check(support.APP in podman("exec", "godwit", "godwit", "apps", "--url", gateway.url), "`godwit apps` answers inside")

        waiting = gateway.push(not_before=int(time.time()) + 3600)
        podman("kill", "--signal", "KILL", "godwit")
        podman("wait", "godwit")
        podman("start", "godwit")
        wait_for("ready gateway", gateway.is_ready)
        check(gateway.states([waiting]) == ["scheduled"], "a push accepted before kill -9 is there after the next start")
        gateway.deliver(simulator)
        check(True, "a push is delivered after the restart")

        podman("stop", "godwit")
        check(podman("inspect", "--format", "{{.State.ExitCode}}", "godwit") == "0", "a stop ends with status 0")
    except support.Failed:
        support.subprocess.run([*podman.words, "logs", "--tail", "30", "godwit"])
        raise
    finally:
        # The storage must not be in use when the folder is deleted.
        support.subprocess.run([*podman.words, "rm", "--force", "--all", "--time", "0"], capture_output=True)
        simulator.stop()
    print("The gateway runs in a container without privileges.")


if __name__ == "__main__":
    support.require("mmdebstrap", "podman", "runc", "strip")
    support.main(checks)

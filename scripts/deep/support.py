"""What the checks in scripts/deep share: the executable, a Debian root, an APNs simulator, and a client of the gateway."""

import contextlib
import hashlib
import http.client
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
APP = "com.example.app"

# The requirements of docs/guides/deploy-systemd.md, and what makes the root start.
PACKAGES = [
    "adduser", "ca-certificates", "dbus", "libnghttp2-14", "libsqlite3-0", "libstdc++6", "systemd", "systemd-sysv", "zlib1g",
]

# Preloaded for the control of a power cut.
SHIM = """
/* A disk that reports a flush that it did not perform. */
int fdatasync(int fd) { (void)fd; return 0; }
int fsync(int fd) { (void)fd; return 0; }
"""


class Failed(Exception):
    """A check did not hold; the text says which one."""


def check(holds, text):
    if not holds:
        raise Failed(text)
    print(f"ok: {text}", flush=True)


def require(*programs):
    """Ends with status 77 unless this is root on a machine with these programs."""
    if os.geteuid() != 0:
        skip("it needs root")
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    for program in programs:
        if not shutil.which(program):
            skip(f"{program} is not installed; scripts/install-deps.sh --deep installs it")


def skip(reason):
    print(f"{os.path.basename(sys.argv[0])}: skipped: {reason}", file=sys.stderr)
    sys.exit(77)


def run(*words, **options):
    """Runs a program and returns its output. Raises `Failed` with its errors if it fails."""
    result = subprocess.run(words, capture_output=True, text=True, **options)
    if result.returncode != 0:
        raise Failed(f"{' '.join(words)}: status {result.returncode}: {result.stderr.strip()[-1000:]}")
    return result.stdout.strip()


def main(checks):
    """Calls `checks` with a new folder, which is deleted afterwards. SIGTERM also deletes it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="godwit-deep-") as folder:
        try:
            # Services with users of their own have to get in.
            os.chmod(folder, 0o755)
            checks(folder)
        except Failed as failure:
            print(f"FAILED: {failure}", file=sys.stderr)
            sys.exit(1)


def wait_for(what, condition, seconds=60):
    """Waits until `condition` returns something true, and returns that. Failures of connections count as false."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
            value = condition()
            if value:
                return value
        time.sleep(0.1)
    raise Failed(f"no {what} within {seconds} s")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def executable():
    """The `godwit` in RELEASE_DIR; without one, the debug build, which is made."""
    folder = os.environ.get("RELEASE_DIR")
    if not folder:
        flags = ["--explicit-target-dependency-import-check", "error"]
        run("swift", "build", *flags, "--product", "godwit", cwd=REPOSITORY)
        folder = run("swift", "build", *flags, "--show-bin-path", cwd=REPOSITORY)
    path = os.path.join(REPOSITORY, folder, "godwit")
    if not os.access(path, os.X_OK):
        raise Failed(f"{path} is not an executable; `make release` builds one")
    print(f"executable: {path}")
    return path


def unpack_debian(folder):
    """Makes a Debian 12 root in `folder`. The archive in .build/deep is made once."""
    name = hashlib.sha256(" ".join(PACKAGES).encode()).hexdigest()[:12]
    archive = f"{REPOSITORY}/.build/deep/debian-{name}.tar"
    if not os.path.exists(archive):
        os.makedirs(os.path.dirname(archive), exist_ok=True)
        run("mmdebstrap", "--format=tar", "--variant=minbase", "--include=" + ",".join(PACKAGES), "bookworm", archive + ".new")
        os.replace(archive + ".new", archive)
    os.makedirs(folder)
    run("tar", "--extract", "--numeric-owner", "--file", archive, "--directory", folder)
    hosts = f"{folder}/etc/hosts"
    if not os.path.exists(hosts):
        write(hosts, "127.0.0.1 localhost\n")


def install_executable(path, root):
    """Installs the executable, and the libraries of a debug build that no Debian package has."""
    target = f"{root}/usr/local/bin/godwit"
    run("strip", "--strip-debug", "-o", target, path)
    os.chmod(target, 0o755)
    for library in re.findall(r"=> (/\S+)", run("ldd", path)):
        if not library.startswith(("/lib/", "/lib64/", "/usr/lib/x86_64-linux-gnu/", "/usr/lib/aarch64-linux-gnu/")):
            os.makedirs(root + os.path.dirname(library), exist_ok=True)
            shutil.copy(library, root + library)


def write(path, text):
    with open(path, "w") as file:
        file.write(text)


def configuration(port, endpoint, host="127.0.0.1"):
    """A configuration for /etc/godwit with one app. `endpoint`: the port of the simulator on localhost."""
    return (
        f"listen: {{host: {host}, port: {port}}}\n"
        "store: {path: /var/lib/godwit}\n"
        "apps:\n"
        f"  - bundle_id: {APP}\n"
        "    key: {file: AuthKey.p8, key_id: DEMOKEY000, team_id: DEMOTEAM00}\n"
        f"    endpoint: {{host: localhost, port: {endpoint}, ca_file: ca.pem}}\n"
    )


class Simulator:
    """`godwit simulate` on this machine. `folder` gets AuthKey.p8 and ca.pem."""

    def __init__(self, godwit, folder):
        os.makedirs(folder, exist_ok=True)
        self.log = f"{folder}/log"
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(
                [godwit, "simulate", "--port", "0", "--control-port", "0", "--channel-port", "0", "--directory", folder],
                stdout=log, stderr=log,
            )
        text = wait_for("simulator", self.is_ready)
        self.port = int(re.search(r"APNs on https://[^ :,]+:(\d+)", text)[1])
        self.control = "http://127.0.0.1:" + re.search(r"control on http://[^ :,]+:(\d+)", text)[1]

    def is_ready(self):
        if self.process.poll() is not None:
            raise Failed("the simulator ended")
        with open(self.log) as log:
            text = log.read()
        return text if "phones are at" in text else None

    def taken(self):
        with urllib.request.urlopen(self.control + "/counters", timeout=10) as answer:
            return json.load(answer)["taken"]

    def stop(self):
        self.process.terminate()
        self.process.wait()


class Gateway:
    """The HTTP interface of a gateway."""

    def __init__(self, port):
        self.url = f"http://127.0.0.1:{port}"

    def get(self, path):
        with urllib.request.urlopen(self.url + path, timeout=10) as answer:
            return answer.read().decode()

    def is_ready(self):
        try:
            return bool(self.get("/readyz"))
        except urllib.error.HTTPError:
            return False

    def ask(self, path, body, kind):
        request = urllib.request.Request(self.url + path, body, {"Content-Type": kind})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return [json.loads(line) for line in answer.read().splitlines() if line]

    def push(self, **fields):
        """Posts one push to a new device and returns its ID."""
        push = {"device_token": random.randbytes(32).hex(), "payload": {"aps": {"alert": "Tea is ready"}}, **fields}
        return self.ask("/push", json.dumps(push).encode(), "application/json")[0]["msg_id"]

    def states(self, ids):
        states = []
        for start in range(0, len(ids), 1000):
            body = "".join(f'"{id}"\n' for id in ids[start : start + 1000]).encode()
            answers = self.ask("/api/v1/messages/query", body, "application/x-ndjson")
            states += [answer["state"] for answer in answers]
        return states

    def deliver(self, simulator):
        """Sends one push and waits until it is delivered and the simulator has it."""
        before = simulator.taken()
        id = self.push()
        wait_for("delivered push", lambda: self.states([id]) == ["delivered"])
        if simulator.taken() != before + 1:
            raise Failed("the push is reported as delivered and did not reach APNs")


class LoadClient(threading.Thread):
    """Posts pushes one request after the other, and records the IDs of acknowledged pushes."""

    def __init__(self, gateway, count):
        super().__init__(daemon=True)
        self.gateway, self.count = gateway, count
        self.accepted, self.is_over = [], False

    def run(self):
        while not self.is_over:
            pushes = "".join(
                json.dumps({"device_token": random.randbytes(32).hex(), "payload": {"aps": {"alert": "x" * 500}}}) + "\n"
                for _ in range(self.count)
            ).encode()
            try:
                if self.count == 1:
                    answers = self.gateway.ask("/push", pushes, "application/json")
                else:
                    answers = self.gateway.ask("/push/batch", pushes, "application/x-ndjson")
            except (OSError, http.client.HTTPException):
                return
            self.accepted += [answer["msg_id"] for answer in answers if answer["status"] == "accepted"]


def status_of_process(process):
    """The fields of /proc/PID/status."""
    with open(f"/proc/{process}/status") as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)

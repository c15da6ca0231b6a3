"""Performs the damage that bit-flips.sh describes. Arguments: the godwit executable, the number of places, a seed."""

import collections
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request

DATABASE, LOG = "godwit.sqlite", "godwit.sqlite-wal"
DAMAGE = ("damage", "missing", "cannot be read", "incomplete", "malformed", "corrupt")
REST = ("delivered", "rejected", "expired", "cancelled", "suppressed", "given_up")


def ask(url, body=None, kind="application/x-ndjson"):
    request = urllib.request.Request(url, body, {"Content-Type": kind})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return [json.loads(line) for line in answer.read().splitlines() if line]


class Simulator:
    def __init__(self, godwit, folder):
        self.folder = f"{folder}/simulator"
        self.process = subprocess.Popen(
            [godwit, "simulate", "--port", "0", "--control-port", "0", "--channel-port", "0", "--directory", self.folder],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )
        self.port = self.control = None
        for line in self.process.stdout:
            words = line.replace(",", " ").split()
            for word in words:
                if word.startswith("https://") and self.port is None:
                    self.port = int(word.rsplit(":", 1)[1].rstrip("/"))
                if word.startswith("http://") and self.control is None:
                    self.control = word.rstrip("/")
            if self.port and self.control:
                return
        raise RuntimeError("the simulator did not start")

    def pushes(self, after):
        pushes = []
        while True:
            page = ask(f"{self.control}/pushes?after={after}&limit=1000&tokens=full")
            if not page:
                return pushes, after
            pushes += page
            after = page[-1]["sequence"]


class Gateway:
    """`godwit serve` on a store. `refusal` is its last line if it did not start."""

    def __init__(self, godwit, folder, store, simulator, port):
        configuration, self.log = f"{folder}/godwit.yaml", f"{folder}/gateway.log"
        with open(configuration, "w") as file:
            file.write(
                "listen: {port: 0}\n"
                f"store: {{path: {store}}}\n"
                "apps:\n"
                "  - bundle_id: com.example.app\n"
                f"    key: {{file: {simulator.folder}/AuthKey.p8, key_id: DEMOKEY000, team_id: DEMOTEAM00}}\n"
                f"    endpoint: {{host: localhost, port: {port}, ca_file: {simulator.folder}/ca.pem}}\n"
                "admission: {disk_free_min_mib: 16}\n"
                "log: {level: warning}\n"
            )
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(
                [godwit, "serve", "--config", configuration], stdout=subprocess.PIPE, stderr=log, text=True,
                env={**os.environ, "SWIFT_BACKTRACE": "enable=no"},
            )
        self.url = self.refusal = None
        for line in self.process.stdout:
            if "ready on" in line:
                self.url = line.split()[-1]
                return
        self.process.wait()
        self.refusal = self.messages()[-1] if self.messages() else f"status {self.process.returncode}, no message"

    def messages(self):
        with open(self.log) as log:
            return [line.strip() for line in log if line.strip()]

    def kill(self):
        self.process.kill()
        self.process.wait()

    def states(self, ids):
        states = {}
        for start in range(0, len(ids), 1000):
            body = "".join(f'"{id}"\n' for id in ids[start : start + 1000]).encode()
            for answer in ask(f"{self.url}/api/v1/messages/query", body):
                states[answer["msg_id"]] = answer["state"]
        return states


def fill(godwit, folder, store, simulator):
    """Leaves a store of a killed gateway in which pushes wait; half of them in the log, the rest in the database.

    Returns what was acknowledged: token and payload by ID.
    """
    sent = {}

    def post(gateway, batches):
        for _ in range(batches):
            pushes = [
                {"device_token": random.randbytes(32).hex(), "payload": {"aps": {"alert": random.randbytes(60).hex()}}}
                for _ in range(random.choice((1, 3, 60, 300)))
            ]
            body = "".join(json.dumps(push) + "\n" for push in pushes).encode()
            for push, answer in zip(pushes, ask(f"{gateway.url}/push/batch", body)):
                if answer["status"] == "accepted":
                    sent[answer["msg_id"]] = (push["device_token"], push["payload"]["aps"]["alert"])

    # No server listens on port 1.
    gateway = Gateway(godwit, folder, store, simulator, 1)
    post(gateway, 12)
    gateway.kill()
    # The start copies the log into the database.
    gateway = Gateway(godwit, folder, store, simulator, 1)
    post(gateway, 12)
    gateway.kill()
    return sent


def damage(store, number):
    """Flips a bit of the database or of the log, or cuts one of them. Returns a description."""
    name = (DATABASE, LOG)[number % 2]
    path = f"{store}/{name}"
    size = os.path.getsize(path)
    place = random.randrange(size)
    if number % 10 < 8:
        bit = random.randrange(8)
        with open(path, "r+b") as file:
            file.seek(place)
            byte = file.read(1)[0]
            file.seek(place)
            file.write(bytes([byte ^ 1 << bit]))
        return f"{name} byte {place} bit {bit}"
    os.truncate(path, place)
    return f"{name} cut at {place} of {size}"


def examine(godwit, folder, store, simulator, sent, after):
    """Starts a gateway on the damaged store. Returns the finding, whether it is a failure, and the next position."""
    gateway = Gateway(godwit, folder, store, simulator, simulator.port)
    if gateway.refusal:
        return f"refused: {gateway.refusal}", False, after
    states = {}
    try:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            if gateway.process.poll() is not None:
                break
            try:
                states = gateway.states(list(sent))
            except OSError:
                break
            if all(state in REST or state == "unknown" for state in states.values()):
                break
            time.sleep(0.3)
    finally:
        stopped = gateway.process.poll()
        gateway.kill()
    pushes, after = simulator.pushes(after)
    wrong = 0
    for push in pushes:
        token, alert = sent.get(push["apns_id"].lower(), (None, None))
        try:
            isSame = token == push["token"] and {"aps": {"alert": alert}} == json.loads(push["payload"])
        except ValueError:
            isSame = False
        wrong += not isSame
    counts = collections.Counter(states.values())
    missing = counts["unknown"] + counts["queued"] + counts["sending"] + counts["retrying"]
    # Other messages, for example about connections, do not count.
    said = [line for line in gateway.messages() if any(word in line.lower() for word in DAMAGE)]
    text = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
    if stopped is not None:
        return f"stopped with status {stopped}: {said[-1] if said else 'no message'}", wrong > 0 or not said, after
    if wrong:
        return f"{wrong} PUSHES CHANGED; {text}", True, after
    if missing and not said:
        return f"{missing} PUSHES DROPPED WITHOUT A MESSAGE; {text}", True, after
    return f"{text}; {len(said)} messages", False, after


def main():
    godwit, places, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    random.seed(seed)
    print(f"seed {seed}")
    failures = 0
    with tempfile.TemporaryDirectory(prefix="godwit-bit-flips-") as folder:
        simulator = Simulator(godwit, folder)
        try:
            sent = fill(godwit, folder, f"{folder}/store", simulator)
            print(f"{len(sent):,} acknowledged pushes wait")
            after = 0
            for number in range(-1, places):
                store = f"{folder}/damaged"
                shutil.rmtree(store, ignore_errors=True)
                shutil.copytree(f"{folder}/store", store)
                what = damage(store, number) if number >= 0 else "no damage"
                finding, isFailure, after = examine(godwit, folder, store, simulator, sent, after)
                if number < 0 and not finding.startswith(f"{len(sent)} delivered"):
                    print(f"bit-flips.py: the store is not sound without damage: {finding}", file=sys.stderr)
                    return 1
                failures += isFailure
                print(f"{'FAILED' if isFailure else 'ok':<7}{what:<42} {finding[:220]}", flush=True)
        finally:
            simulator.process.terminate()
            simulator.process.wait()
    print(f"{failures} of {places} places: a changed push was sent, or pushes were dropped without a message.")
    return 1 if failures else 0


sys.exit(main())

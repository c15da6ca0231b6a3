#!/usr/bin/env -S python3 -B
"""Attacks a gateway with connections that do not read, or do nothing, and checks that others are served meanwhile.

    sudo scripts/deep/connections.py    RELEASE_DIR=FOLDER uses the executable there, otherwise the debug build

1. 2,060 connections pipeline GET requests and never read: first from the address of the honest client, then from eight others.
   The resident memory stays below 300 MiB. The honest client is served all the time, or within 2 seconds if it has the
   attacker's address.
2. 400 connections stream pushes in bulk and never read, to a gateway in a memory cgroup of 1 GiB: it stays alive.
3. 2,100 connections do nothing: a new client is served within 2 seconds.
4. 50 clients push on connections that they keep while the gateway is stopped: no request is cut off.

ATTACK_SECONDS=n sets the length of each attack. Exit status: 0 when all of that holds, 1 when something does not, 77 when this machine
cannot run it.
"""

import http.client
import json
import multiprocessing
import os
import random
import resource
import selectors
import socket
import subprocess
import threading
import time

import support
from support import check, wait_for, write

SECONDS = int(os.environ.get("ATTACK_SECONDS", "45"))
LOCAL = "127.0.0.1"
OTHERS = [f"127.0.0.{n}" for n in range(2, 10)]


class Attack(multiprocessing.Process):
    """Connections that send `start`, then `rest` again and again, and never read. Ten of the closed ones a second are opened again."""

    def __init__(self, port, count, addresses, start=b"", rest=b""):
        super().__init__(daemon=True)
        self.port, self.count, self.addresses = port, count, addresses
        self.start_bytes, self.rest = start, rest
        self.ended, self.counts = multiprocessing.Event(), multiprocessing.Array("q", 2)

    @property
    def opened(self):
        return self.counts[0]

    @property
    def sent(self):
        return self.counts[1]

    def connect(self, selector):
        client = socket.socket()
        client.setblocking(False)
        client.bind((self.addresses[self.opened % len(self.addresses)], 0))
        client.connect_ex((LOCAL, self.port))
        self.counts[0] += 1
        events = selectors.EVENT_READ if not self.rest else selectors.EVENT_WRITE
        selector.register(client, events, self.start_bytes)

    def run(self):
        with selectors.DefaultSelector() as selector:
            missing, closed, again = self.count, 0, time.monotonic() + 1
            while not self.ended.is_set():
                if time.monotonic() >= again:
                    missing, closed, again = missing + min(closed, 10), max(0, closed - 10), time.monotonic() + 1
                for _ in range(min(missing, 100)):
                    self.connect(selector)
                    missing -= 1
                for key, _ in selector.select(0.05):
                    client, waiting = key.fileobj, key.data
                    try:
                        if not self.rest:
                            # Readable: the gateway has closed it.
                            raise OSError
                        sent = client.send(waiting or self.rest)
                        self.counts[1] += sent
                        selector.modify(client, selectors.EVENT_WRITE, (waiting or self.rest)[sent:])
                    except BlockingIOError:
                        pass
                    except OSError:
                        selector.unregister(client)
                        client.close()
                        closed += 1
            for key in list(selector.get_map().values()):
                key.fileobj.close()

    def stop(self):
        self.ended.set()
        self.join()


class Client(threading.Thread):
    """An honest client: health checks and pushes, each on a connection of its own and on one that it keeps."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.port, self.is_over = port, False
        self.failures = {"health": [], "push": []}
        self.slowest = {"health": 0.0, "push": 0.0}
        self.served = {"health": 0, "push": 0}

    def ask(self, connection, kind):
        start = time.monotonic()
        try:
            if kind == "health":
                connection.request("GET", "/healthz")
            else:
                push = {"device_token": random.randbytes(32).hex(), "payload": {"aps": {"alert": "Tea is ready"}}}
                connection.request("POST", "/push", json.dumps(push), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            holds = answer.status == 200
        except (OSError, http.client.HTTPException):
            holds = False
        if not holds:
            connection.close()
            self.failures[kind].append(start)
            return
        self.served[kind] += 1
        self.slowest[kind] = max(self.slowest[kind], time.monotonic() - start)

    def run(self):
        kept = http.client.HTTPConnection(LOCAL, self.port, timeout=5)
        while not self.is_over:
            for kind in ("health", "push"):
                new = http.client.HTTPConnection(LOCAL, self.port, timeout=5)
                self.ask(new, kind)
                new.close()
            self.ask(kept, "push")
            time.sleep(0.1)
        kept.close()

    def stop(self):
        self.is_over = True
        self.join()

    def longest_outage(self, kind):
        """The longest time in which each request failed, in seconds."""
        longest, first, last = 0.0, None, None
        for moment in self.failures[kind]:
            if last is None or moment - last > 0.5:
                first = moment
            last = moment
            longest = max(longest, last - first)
        return longest

    def report(self):
        return ", ".join(
            f"{kind}: {self.served[kind]} served, {len(self.failures[kind])} not, slowest {self.slowest[kind]:.2f} s"
            for kind in self.served
        )


class MemoryGroup:
    """A memory cgroup of version 1 or 2."""

    def __init__(self, mib):
        root = "/sys/fs/cgroup"
        self.is_v2 = os.path.exists(f"{root}/cgroup.controllers")
        self.path = f"{root}/godwit-deep-{os.getpid()}" if self.is_v2 else f"{root}/memory/godwit-deep-{os.getpid()}"
        try:
            os.mkdir(self.path)
            limits = ["memory.max"] if self.is_v2 else ["memory.limit_in_bytes"]
            for name in limits:
                write(f"{self.path}/{name}", str(mib << 20))
        except OSError as error:
            self.remove()
            support.skip(f"it needs a memory cgroup: {error}")

    def peak(self):
        with open(f"{self.path}/" + ("memory.peak" if self.is_v2 else "memory.max_usage_in_bytes")) as file:
            return int(file.read()) >> 20

    def add(self, process):
        write(f"{self.path}/cgroup.procs", str(process))

    def remove(self):
        try:
            os.rmdir(self.path)
        except OSError:
            pass


class Server:
    """A gateway of its own store, without privileges."""

    def __init__(self, godwit, folder, name, group=None):
        self.port = support.free_port()
        store = f"{folder}/{name}"
        os.makedirs(store)
        os.chown(store, 65534, 65534)
        self.log = f"{folder}/{name}.log"
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(
                [godwit, "serve", "--config", f"{folder}/simulator/godwit.yaml", "--store", store, "--port", str(self.port)],
                stdout=log, stderr=log, user=65534, group=65534, extra_groups=[],
            )
        if group:
            group.add(self.process.pid)
        wait_for("ready gateway", support.Gateway(self.port).is_ready)

    def resident(self):
        return int(support.status_of_process(self.process.pid)["VmRSS"].split()[0]) >> 10

    def peak(self):
        return int(support.status_of_process(self.process.pid)["VmHWM"].split()[0]) >> 10

    def metrics(self):
        text = support.Gateway(self.port).get("/metrics")
        return {name: value for name, value in (line.rsplit(" ", 1) for line in text.splitlines() if line[:1] != "#")}

    def stop(self):
        self.process.terminate()
        return self.process.wait(60)


def under_attack(server, attack, client):
    client.start()
    time.sleep(1)
    attack.start()
    time.sleep(SECONDS)
    print(f"    {server.resident()} MiB resident, {server.peak()} MiB at most; {client.report()}")
    closed = {name: value for name, value in server.metrics().items() if "connections_closed" in name or "held" in name}
    print(f"    {attack.opened} connections opened, {attack.sent >> 20} MiB sent; {closed}")
    client.stop()
    attack.stop()


def unread_requests(godwit, folder):
    # As many short requests as one read takes.
    requests = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 2500
    for name, addresses, outage in [("same", [LOCAL], 2.0), ("others", OTHERS, 0.0)]:
        server = Server(godwit, folder, f"unread-{name}")
        try:
            client = Client(server.port)
            attack = Attack(server.port, 2060, addresses, b"", requests)
            under_attack(server, attack, client)
            check(server.process.poll() is None, f"the gateway is alive after 2,060 connections that never read ({name})")
            check(server.peak() < 300, f"its resident memory stayed below 300 MiB: {server.peak()} MiB ({name})")
            check(not client.failures["health"], f"each health check was served ({name})")
            longest = client.longest_outage("push")
            check(longest <= outage, f"pushes were served, without one for at most {longest:.1f} s ({name})")
        finally:
            server.stop()


def unread_streams(godwit, folder):
    head = b"POST /push/batch HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-ndjson\r\nContent-Length: 100000000000\r\n\r\n"
    token = random.randbytes(32).hex()
    push = json.dumps({"device_token": token, "not_before": int(time.time()) + 3000, "payload": {"aps": {"alert": "x"}}}).encode()
    # Each other item is refused, so that no two results are stored together.
    lines = (push + b"\n{}\n") * 300
    group = MemoryGroup(1024)
    try:
        server = Server(godwit, folder, "streams", group)
        try:
            client = Client(server.port)
            under_attack(server, Attack(server.port, 400, OTHERS, head, lines), client)
            check(server.process.poll() is None, f"400 unread streams leave it alive in 1 GiB; {group.peak()} MiB at most")
            check(not client.failures["health"], "each health check was served during the streams")
            wait_for("served push after the streams", lambda: support.Gateway(server.port).push(), 60)
            check(True, "pushes are served after the streams")
        finally:
            server.stop()
    finally:
        group.remove()


def idle_connections(godwit, folder):
    for name, addresses in [("same", [LOCAL]), ("others", OTHERS)]:
        server = Server(godwit, folder, f"idle-{name}")
        try:
            attack = Attack(server.port, 2100, addresses)
            attack.start()
            wait_for("2,100 connections", lambda: attack.opened >= 2100)
            start = time.monotonic()
            wait_for("served push", lambda: support.Gateway(server.port).push(), 10)
            duration = time.monotonic() - start
            check(duration < 2, f"a new client is served after {duration:.2f} s with 2,100 idle connections ({name})")
            attack.stop()
        finally:
            server.stop()


def pushes_during_a_stop(godwit, folder):
    server = Server(godwit, folder, "stop")
    cut, served, asked = [], [], []

    def push_on(connection):
        for _ in range(500):
            body = json.dumps({"device_token": random.randbytes(32).hex(), "payload": {"aps": {"alert": "Tea is ready"}}})
            try:
                connection.request("POST", "/push", body, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException) as error:
                cut.append(repr(error))
                return
            served.append(answer.status)
            if answer.getheader("Connection") == "close":
                asked.append(answer.status)
                return
            time.sleep(0.05)

    connections = [http.client.HTTPConnection(LOCAL, server.port, timeout=10) for _ in range(50)]
    threads = [threading.Thread(target=push_on, args=[connection]) for connection in connections]
    for thread in threads:
        thread.start()
    time.sleep(2)
    status = server.stop()
    for thread in threads:
        thread.join()
    check(status == 0 and set(served) == {200}, f"a stop succeeds while 50 clients push; {len(served)} pushes were accepted")
    check(not cut and len(asked) == 50, f"no request on a kept connection is cut off: {cut[:3]}")
    with open(server.log) as log:
        check('"message":"stopped"' in log.read().splitlines()[-1], "the last line of the log is `stopped`")


def checks(folder):
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 5000:
        support.skip("it needs 5,000 file descriptors")
    godwit = support.executable()
    simulator = support.Simulator(godwit, f"{folder}/simulator")
    try:
        write(f"{folder}/simulator/godwit.yaml", support.configuration(0, simulator.port))
        os.chmod(f"{folder}/simulator", 0o755)
        for file in ("AuthKey.p8", "ca.pem"):
            os.chmod(f"{folder}/simulator/{file}", 0o644)
        pushes_during_a_stop(godwit, folder)
        idle_connections(godwit, folder)
        unread_requests(godwit, folder)
        unread_streams(godwit, folder)
    finally:
        simulator.stop()
    print("Clients that do not read, or do nothing, shut no other client out.")


if __name__ == "__main__":
    support.require()
    support.main(checks)

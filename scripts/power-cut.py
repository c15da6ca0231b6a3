"""Performs the power cuts that power-cut.sh describes. Arguments: the godwit executable, the number of cuts of each kind."""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)) + "/deep")
import support

run = support.run


class Disk:
    """An ext4 file system in an image, of which this machine's page cache holds only dirty pages."""

    def __init__(self, image, folder):
        self.image, self.folder = image, folder
        os.makedirs(folder, exist_ok=True)
        self.loop = run("losetup", "--find", "--show", "--direct-io=on", image)
        try:
            if run("losetup", "--noheadings", "--output", "DIO", self.loop) != "1":
                print("power-cut.py: skipped: this file system has no direct I/O for loop devices", file=sys.stderr)
                sys.exit(77)
            run("mount", self.loop, folder)
        except BaseException:
            run("losetup", "--detach", self.loop)
            raise

    def close(self):
        run("umount", self.folder)
        run("losetup", "--detach", self.loop)


class Gateway:
    """`godwit serve` on its own store; its APNs refuses connections, so that every push waits in the store."""

    def __init__(self, godwit, folder, store, environment):
        configuration = f"{folder}/godwit.yaml"
        with open(configuration, "w") as file:
            file.write(
                "listen: {port: 0}\n"
                f"store: {{path: {store}}}\n"
                "apps:\n"
                "  - bundle_id: com.example.app\n"
                f"    key: {{file: {folder}/key.p8, key_id: ABCDE12345, team_id: TEAM123456}}\n"
                "    endpoint: {host: localhost, port: 1}\n"
                # The disk has 256 MiB, which is also the default of what the gateway keeps free.
                "admission: {disk_free_min_mib: 16}\n"
                "log: {level: critical}\n"
            )
        self.process = subprocess.Popen(
            [godwit, "serve", "--config", configuration], stdout=subprocess.PIPE, text=True,
            env={**os.environ, **environment},
        )
        line = self.process.stdout.readline()
        if "ready on" not in line:
            raise RuntimeError("the gateway did not start")
        self.api = support.Gateway(int(line.rpartition(":")[2]))

    def kill(self):
        self.process.kill()
        self.process.wait()


def cut(godwit, folder, environment):
    """Performs one cut; returns the numbers of acknowledged and of missing pushes, and the state of the store."""
    image, copy = f"{folder}/disk.img", f"{folder}/after.img"
    for file in (image, copy):
        if os.path.exists(file):
            os.remove(file)
    with open(image, "wb") as file:
        file.truncate(256 << 20)
    run("mkfs.ext4", "-q", "-F", image)
    disk = Disk(image, f"{folder}/before")
    gateway = None
    try:
        gateway = Gateway(godwit, folder, f"{folder}/before/store", environment)
        # The file system itself is not under test: its folder is on the disk before the load begins.
        os.sync()
        clients = [support.LoadClient(gateway.api, count) for count in (1, 1, 1, 50)]
        for client in clients:
            client.start()
        time.sleep(random.uniform(0.5, 4))
        gateway.process.send_signal(signal.SIGSTOP)
        # Acknowledgements read before this moment were sent before the cut.
        accepted = [id for client in clients for id in list(client.accepted)]
        run("cp", "--sparse=always", image, copy)
        for client in clients:
            client.is_over = True
    finally:
        if gateway:
            gateway.kill()
        disk.close()
    after = Disk(copy, f"{folder}/after")
    gateway = None
    try:
        gateway = Gateway(godwit, folder, f"{folder}/after/store", {})
        return len(accepted), gateway.api.states(accepted).count("unknown"), "opens"
    except RuntimeError:
        return len(accepted), len(accepted), "does not open"
    finally:
        if gateway:
            gateway.kill()
        after.close()


def main():
    godwit, cuts = sys.argv[1], int(sys.argv[2])
    lost = {}
    with tempfile.TemporaryDirectory(prefix="godwit-power-cut-") as folder:
        run("openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", f"{folder}/key.p8")
        with open(f"{folder}/shim.c", "w") as file:
            file.write(support.SHIM)
        run("cc", "-shared", "-fPIC", "-o", f"{folder}/shim.so", f"{folder}/shim.c")
        print(f"{'setting':<14}{'cut':>4}{'acknowledged':>14}{'missing':>9}  store after the cut")
        for setting, environment in (("as shipped", {}), ("without sync", {"LD_PRELOAD": f"{folder}/shim.so"})):
            lost[setting] = []
            for number in range(1, cuts + 1):
                accepted, missing, state = cut(godwit, folder, environment)
                if not accepted:
                    print("power-cut.py: no push was acknowledged, so the cut proves nothing", file=sys.stderr)
                    return 1
                lost[setting].append(missing)
                print(f"{setting:<14}{number:>4}{accepted:>14,}{missing:>9,}  {state}", flush=True)
    if any(lost["as shipped"]):
        print("Acknowledged pushes are missing after a power cut.")
        return 1
    if not any(lost["without sync"]):
        print("The control lost no push, so these cuts prove nothing.")
        return 1
    print("Every acknowledged push is there. The control lost some, so the test detects losses.")
    return 0


sys.exit(main())

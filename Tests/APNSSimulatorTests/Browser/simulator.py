"""Access to the simulator under test: pushes by curl and h2load, the control API by urllib."""

import json
import os
import subprocess
import tempfile
import time
import urllib.request

APNS = os.environ["GODWIT_APNS"]
CONTROL = os.environ["GODWIT_CONTROL"]
AUTHORITY = os.environ["GODWIT_AUTHORITY"]
PROVIDER_TOKEN = os.environ["GODWIT_PROVIDER_TOKEN"]
APP = "com.example.app"


def headers(topic, push_type, more):
    names = {"authorization": f"bearer {PROVIDER_TOKEN}", "apns-topic": topic, "apns-push-type": push_type}
    names.update({name.replace("_", "-"): value for name, value in more.items()})
    return [part for name, value in names.items() for part in ("-H", f"{name}: {value}")]


def push(token, payload, topic=APP, push_type="alert", status="200", **more):
    """Sends one push. `more` are further headers, such as `apns_collapse_id`. A string payload is sent unchanged."""
    body = payload if isinstance(payload, str) else json.dumps(payload)
    result = subprocess.run(
        ["curl", "-sS", "--max-time", "30", "--http2", "--cacert", AUTHORITY, "-o", os.devnull, "-w", "%{http_code}"]
        + headers(topic, push_type, more) + ["--data-binary", body, f"{APNS}/3/device/{token}"],
        capture_output=True, text=True, check=False,
    )
    assert result.stdout == status, f"a push got {result.stdout} instead of {status}: {result.stderr}"


def activity(token, event, state, timestamp=None, app=APP, **more):
    """Sends one Live Activity push. `more` are further members of `aps`, with _ for -."""
    aps = {"event": event, "timestamp": int(time.time()) if timestamp is None else timestamp, "content-state": state}
    aps.update({name.replace("_", "-"): value for name, value in more.items()})
    push(token, {"aps": aps}, topic=f"{app}.push-type.liveactivity", push_type="liveactivity")


def flood(token, payload, count):
    """Sends `count` identical pushes as fast as possible and returns the process."""
    body = tempfile.NamedTemporaryFile("w", suffix=".json", delete=False)
    with body:
        json.dump(payload, body)
    return subprocess.Popen(
        ["h2load", "-n", str(count), "-c", "1", "-m", "100", "-d", body.name]
        + headers(APP, "alert", {}) + [f"{APNS}/3/device/{token}"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )


def request(path, method="GET", document=None):
    body = None if document is None else json.dumps(document).encode()
    with urllib.request.urlopen(urllib.request.Request(CONTROL + path, method=method, data=body), timeout=30) as response:
        text = response.read()
    return json.loads(text) if text else None

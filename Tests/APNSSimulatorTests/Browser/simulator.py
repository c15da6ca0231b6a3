"""The simulator under test, as the browser tests talk to it: pushes with curl and h2load, the control API with urllib."""

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
    """Sends one push; `more` are further headers, `apns_collapse_id` for one. Payloads that are text go as they are."""
    body = payload if isinstance(payload, str) else json.dumps(payload)
    answer = subprocess.run(
        ["curl", "-sS", "--max-time", "30", "--http2", "--cacert", AUTHORITY, "-o", os.devnull, "-w", "%{http_code}"]
        + headers(topic, push_type, more) + ["--data-binary", body, f"{APNS}/3/device/{token}"],
        capture_output=True, text=True, check=False,
    )
    assert answer.stdout == status, f"a push was answered with {answer.stdout}, not {status}: {answer.stderr}"


def activity(token, event, state, timestamp=None, app=APP, **more):
    """Sends one Live Activity push; `more` are further members of `aps`, with - for _."""
    aps = {"event": event, "timestamp": int(time.time()) if timestamp is None else timestamp, "content-state": state}
    aps.update({name.replace("_", "-"): value for name, value in more.items()})
    push(token, {"aps": aps}, topic=f"{app}.push-type.liveactivity", push_type="liveactivity")


def flood(token, payload, count):
    """Sends `count` equal pushes as fast as they are taken; returns the process."""
    body = tempfile.NamedTemporaryFile("w", suffix=".json", delete=False)
    with body:
        json.dump(payload, body)
    return subprocess.Popen(
        ["h2load", "-n", str(count), "-c", "1", "-m", "100", "-d", body.name]
        + headers(APP, "alert", {}) + [f"{APNS}/3/device/{token}"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )


def ask(path, method="GET", document=None):
    body = None if document is None else json.dumps(document).encode()
    with urllib.request.urlopen(urllib.request.Request(CONTROL + path, method=method, data=body), timeout=30) as answer:
        text = answer.read()
    return json.loads(text) if text else None

import json
import os
import urllib.request

url = os.environ.get("GODWIT_URL", "http://127.0.0.1:8025")
push = {
    "device_token": "00fc13adff785122b4ad28809a3420982341241421348097878e577c991de8f0",
    "payload": {"aps": {"alert": "Tea is ready"}},
}
request = urllib.request.Request(
    url + "/push",
    data=json.dumps(push).encode(),
    headers={"Content-Type": "application/json"},
)
# An HTTP status other than 2xx raises urllib.error.HTTPError.
with urllib.request.urlopen(request, timeout=10) as response:
    print(json.load(response)["msg_id"])

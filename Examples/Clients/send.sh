GODWIT_URL="${GODWIT_URL:-http://127.0.0.1:8025}"
curl -sS --fail-with-body "$GODWIT_URL/push" \
  -H 'Content-Type: application/json' \
  -d '{"device_token": "00fc13adff785122b4ad28809a3420982341241421348097878e577c991de8f0",
       "payload": {"aps": {"alert": "Tea is ready"}}}'

const url = process.env.GODWIT_URL ?? "http://127.0.0.1:8025";
const response = await fetch(`${url}/push`, {
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify({
    device_token: "00fc13adff785122b4ad28809a3420982341241421348097878e577c991de8f0",
    payload: { aps: { alert: "Tea is ready" } },
  }),
  signal: AbortSignal.timeout(10_000),
});
if (!response.ok) throw new Error(await response.text());
console.log((await response.json()).msg_id);

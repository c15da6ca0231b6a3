"""Sends concurrent pushes with httpx over one HTTP/2 connection and prints the number of each response.

Arguments: port, authority file, provider token, topic, number of pushes.
"""

import asyncio
import collections
import ssl
import sys
import uuid

import httpx


async def main(port, authority, provider_token, topic, count):
    headers = {"authorization": f"bearer {provider_token}", "apns-topic": topic, "apns-push-type": "alert"}
    context = ssl.create_default_context(cafile=authority)
    limits = httpx.Limits(max_connections=1)
    responses = collections.Counter()
    async with httpx.AsyncClient(http2=True, verify=context, limits=limits, timeout=20, headers=headers) as client:

        async def push(number):
            apns_id = str(uuid.uuid4())
            response = await client.post(
                f"https://localhost:{port}/3/device/{number:064x}", headers={"apns-id": apns_id},
                json={"aps": {"alert": f"number {number}"}},
            )
            is_ours = response.headers["apns-id"] == apns_id
            responses[f"{response.http_version} {response.status_code} {is_ours}"] += 1

        # Only one stream is allowed before the first valid provider token.
        await push(0)
        await asyncio.gather(*(push(number) for number in range(1, int(count))))
    for response, number in sorted(responses.items()):
        print(number, response)


asyncio.run(main(*sys.argv[1:6]))

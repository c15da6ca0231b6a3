"""Sends many pushes at once with httpx over one HTTP/2 connection and prints how many got which answer.

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
    answers = collections.Counter()
    async with httpx.AsyncClient(http2=True, verify=context, limits=limits, timeout=20, headers=headers) as client:

        async def push(number):
            apns_id = str(uuid.uuid4())
            answer = await client.post(
                f"https://localhost:{port}/3/device/{number:064x}", headers={"apns-id": apns_id},
                json={"aps": {"alert": f"number {number}"}},
            )
            is_ours = answer.headers["apns-id"] == apns_id
            answers[f"{answer.http_version} {answer.status_code} {is_ours}"] += 1

        # One stream is allowed until a provider token has been seen.
        await push(0)
        await asyncio.gather(*(push(number) for number in range(1, int(count))))
    for answer, number in sorted(answers.items()):
        print(number, answer)


asyncio.run(main(*sys.argv[1:6]))

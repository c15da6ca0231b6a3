"""Sends pushes with aioapns and prints one line for each: status, reason, and whether the ID matches.

Arguments: port, authority file, key file, key ID, team ID, topic, device tokens ...
"""

import asyncio
import ssl
import sys

from aioapns import APNs, NotificationRequest, PushType
from aioapns.connection import APNsProductionClientProtocol


async def main(port, authority, key, key_id, team_id, topic, tokens):
    # aioapns has no setting for the server address, so this changes its class.
    APNsProductionClientProtocol.APNS_SERVER = "localhost"
    APNsProductionClientProtocol.APNS_PORT = int(port)
    context = ssl.create_default_context(cafile=authority)
    context.set_alpn_protocols(["h2"])
    with open(key, encoding="ascii") as file:
        pem = file.read()
    client = APNs(
        key=pem, key_id=key_id, team_id=team_id, topic=topic, max_connections=1, max_connection_attempts=3,
        ssl_context=context,
    )
    for token in tokens:
        request = NotificationRequest(
            device_token=token, message={"aps": {"alert": "from aioapns"}}, push_type=PushType.ALERT
        )
        result = await asyncio.wait_for(client.send_notification(request), 20)
        print(result.status, result.description or "-", result.notification_id == request.notification_id)


asyncio.run(main(*sys.argv[1:7], sys.argv[7:]))

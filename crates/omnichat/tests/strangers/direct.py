"""A user's own connection to NATS, through nats-py. Prints what was seen, as JSON; the test judges it."""

import asyncio
import json
import sys

import msgpack
import nats
from nats.errors import NoRespondersError

GIVEN = json.loads(sys.argv[1])
USER = GIVEN["user"]
PACKED = {"Content-Type": "application/msgpack"}
PATIENCE = 60


def subject(rest):
    return f"omnichat.v1.u.{USER}.{rest}"


def seen(reply, body):
    return {"headers": dict(reply.headers or {}), "body": body}


async def main():
    errors = []

    async def error_cb(error):
        errors.append(str(error))

    inbox = f"_INBOX.{USER}".encode()
    connection = await nats.connect(GIVEN["url"], inbox_prefix=inbox, error_cb=error_cb, **GIVEN["credentials"])

    async def ask(rest, body=b"", headers=None):
        return await connection.request(subject(rest), body, timeout=PATIENCE, headers=headers)

    facts = {}
    reply = await ask("projects.create", json.dumps({"name": "from Python"}).encode())
    project = json.loads(reply.data)
    facts["json"] = seen(reply, project)
    reply = await ask(f"projects.{project['id']}.get", headers=PACKED)
    facts["msgpack"] = seen(reply, msgpack.unpackb(reply.data))
    reply = await ask("projects.create", msgpack.packb({"name": 7}), PACKED)
    facts["msgpack_fault"] = seen(reply, msgpack.unpackb(reply.data))
    reply = await ask(f"conversations.{GIVEN['nowhere']}.get")
    facts["fault"] = seen(reply, json.loads(reply.data))
    try:
        await ask("projects.frobnicate")
    except NoRespondersError:
        facts["unknown"] = "no responders"

    reply = await ask("conversations.create", json.dumps({"project_id": project["id"]}).encode())
    conversation = json.loads(reply.data)["id"]
    events = await connection.subscribe(subject("events.turn.*"))
    await connection.flush()
    reply = await ask(f"conversations.{conversation}.send", json.dumps({"content": "hello"}).encode())
    facts["sent"] = seen(reply, json.loads(reply.data))
    facts["events"] = []
    while not facts["events"] or facts["events"][-1]["event"] not in ("completed", "failed"):
        message = await events.next_msg(timeout=PATIENCE)
        event = {"event": message.headers["Oc-Event"], "seq": message.headers["Oc-Seq"]}
        facts["events"].append(event | {"body": json.loads(message.data)})

    async def steps(rest, body, headers):
        """All that is said until the empty message."""
        inbox = connection.new_inbox()
        told, replies = await connection.subscribe(inbox), []
        await connection.publish(subject(rest), body, reply=inbox, headers={"Oc-Stream": "1"} | headers)
        while (message := await told.next_msg(timeout=PATIENCE)).data:
            replies.append(seen(message, json.loads(message.data)))
        return replies

    send = f"conversations.{conversation}.send"
    facts["steps"] = await steps(send, json.dumps({"content": "step by step"}).encode(), {})
    facts["refused"] = await steps(send, b'{"content":""}', {})

    facts["errors"] = errors
    reply = await ask("account.get")
    facts["account"] = json.loads(reply.data)
    await connection.close()
    print(json.dumps(facts))


asyncio.run(main())

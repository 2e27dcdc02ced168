// A send that is answered step by step, through the library's own way of asking for many replies: they end with an empty one.
// Prints what was seen, as JSON.

import { connect, headers } from "@nats-io/transport-node";

const given = JSON.parse(process.argv[1]);
const connection = await connect(given.options);

const ask = async (body, extra = {}) => {
  const asked = headers();
  for (const [name, value] of Object.entries({ "Oc-Stream": "1", ...extra })) asked.set(name, value);
  const options = { strategy: "sentinel", maxWait: 60000, headers: asked };
  const replies = [];
  for await (const message of await connection.requestMany(given.subject, JSON.stringify(body), options)) {
    if (message.data.length === 0) continue;
    replies.push({ event: message.headers.get("Oc-Event"), seq: message.headers.get("Oc-Seq"),
      status: message.headers.get("Nats-Service-Error-Code"), body: message.json() });
  }
  return replies;
};

const facts = {
  told: await ask({ content: "step by step" }, { "Idempotency-Key": "k1" }),
  again: await ask({ content: "step by step" }, { "Idempotency-Key": "k1" }),
  accepted: await ask({ content: "and then?" }, { "Oc-Stream": "accepted" }),
  refused: await ask({ content: "" }),
};
await connection.close();
console.log(JSON.stringify(facts));

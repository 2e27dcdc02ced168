// What `nats micro ls|info|stats` asks, through the library that defines it. Prints what was seen, as JSON.

import { connect } from "@nats-io/transport-node";
import { Svcm } from "@nats-io/services";

const given = JSON.parse(process.argv[1]);
const connection = await connect(given.options);

const all = async (answers) => {
  const found = [];
  for await (const answer of await answers) found.push(answer);
  return found;
};

const services = new Svcm(connection).client({ strategy: "stall", maxWait: 1000 });
const before = await all(services.stats());
const user = await connect(given.user);
for (const [subject, body] of given.requests) {
  await user.request(subject, JSON.stringify(body), { timeout: 10000 });
}
const facts = {
  ping: await all(services.ping()),
  info: await all(services.info()),
  before,
  stats: await all(services.stats()),
  one: await all(services.info("omnichat-projects")),
};
await user.close();
await connection.close();
console.log(JSON.stringify(facts));

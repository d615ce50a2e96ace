// The built client outside browsers, against the server whose address is the argument. It prints "good", or throws.
import assert from "node:assert/strict";
import { connect } from "../dist/culvert.js";

process.on("unhandledRejection", (e) => {
  throw e;
});
const url = process.argv[2];

for (const transport of [...(globalThis.WebSocket ? ["websocket"] : []), "sse", "poll"]) {
  const client = connect(url, { transports: [transport] });
  const room = client.room("room" + transport, { from: "start", presence: true });
  const seen = [];
  const reading = (async () => {
    for await (const m of room) if (seen.push(m.data) == 20) break;
  })();
  const published = await Promise.all(Array.from({ length: 20 }, (_, i) => room.publish(i)));
  await reading;
  assert.deepEqual(seen, Array.from({ length: 20 }, (_, i) => i));
  assert.deepEqual(published.map((p) => p.offset), seen.map((i) => i + 1));
  const again = await room.publish("x", { key: "k" });
  assert.equal(again.duplicate, false);
  assert.equal((await room.publish("x", { key: "k" })).duplicate, true);
  await assert.rejects(room.publish("y", { key: "k" }), { code: "key_conflict" });
  await assert.rejects(room.publish("x".repeat(100e3)), { code: "message_too_large" });
  const page = await room.history({ limit: 3 });
  assert.deepEqual([page.messages.length, page.more], [3, true]);
  const here = await room.presence();
  assert.deepEqual(here.members.map((m) => m.client), [client.id]);
  // Rooms that the server refuses end alone: by their place, and by their number.
  const refused = (name, options) => client.room(name, options)[Symbol.asyncIterator]().next();
  await assert.rejects(refused("nowhere" + transport, { cursor: "EPOCH.1.x" }), { code: "bad_cursor" });
  const many = Array.from({ length: 101 }, (_, i) => refused(`many${transport}${i}`, { from: "start" }));
  for (const newest of [99, 100]) await assert.rejects(many[newest], { code: "too_many_rooms" });
  for (const reading of many) reading.catch(() => {});
  await room.publish("after");
  await client.publish(`many${transport}98`, "after");
  assert.equal((await many[98]).value.data, "after");
  assert.equal(room.cursor.split(".")[1], "22");
  client.close();
}
console.log("good");

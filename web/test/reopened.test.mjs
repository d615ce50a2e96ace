// Rooms that are left, opened again, and refused.
import assert from "node:assert/strict";
import test from "node:test";
import { start } from "./common.mjs";

const ways = [["ok", "good", "websocket"], ["refuse", "good", "sse"], ["refuse", "held", "poll"]];

test("a room that is opened again begins where it is asked to, whatever the pipe still brings", async () => {
  for (const [ws, stream, transport] of ways)
    for (const pause of [0, 1, 20, 100, 400]) {
      const w = start({ setUp: ({ network, server }) => {
        Object.assign(network, { ws, stream: () => stream });
        for (let i = 0; i < 5; i++) server.publish({ room: "lobby", data: i });
      } });
      let n = 5;
      for (let i = 0; i < 400; i++) w.clock.setTimeout(() => w.server.publish({ room: "lobby", data: n++ }), 3000 + i * 13);
      await w.on(transport);
      await w.clock.run(4000);
      w.room.close();
      await w.clock.run(pause);
      const got = [];
      w.client.room("lobby", { from: "start" }).on("message", (m) => got.push(m.data));
      await w.clock.run(20e3);
      assert.equal(n, 405);
      assert.deepEqual(got, Array.from({ length: n }, (_, i) => i), transport + ", after " + pause + " ms");
    }
});

test("a room that is left and opened again while everything is being opened", async () => {
  for (const [ws, stream, transport] of ways)
    for (const pause of [0, 20, 60, 150, 310]) {
      const w = start({ setUp: ({ network, server }) => {
        Object.assign(network, { ws, stream: () => stream, delay: 40 });
        for (let i = 0; i < 5; i++) server.publish({ room: "lobby", data: i });
      } });
      await w.clock.run(pause);
      w.room.close();
      const got = [];
      w.client.room("lobby", { from: "start" }).on("message", (m) => got.push(m.data));
      w.server.publish({ room: "lobby", data: 5 });
      await w.clock.run(20e3);
      w.server.publish({ room: "lobby", data: 6 });
      await w.clock.run(5000);
      assert.deepEqual(got, [0, 1, 2, 3, 4, 5, 6], transport + ", after " + pause + " ms");
    }
});

test("a room that is refused ends alone", async () => {
  const w = start({ setUp: ({ server }) => (server.refused = { secret: "forbidden" }) });
  await w.on("websocket");
  const secret = w.client.room("secret");
  const states = [];
  secret.on("state", (e) => states.push([e.state, e.error && e.error.code]));
  const read = assert.rejects(secret[Symbol.asyncIterator]().next(), { code: "forbidden" });
  const published = w.room.publish(1);
  await w.clock.run(5000);
  await read;
  assert.deepEqual(states.at(-1), ["failed", "forbidden"]);
  assert.equal((await published).offset, 1);
  w.server.publish({ room: "lobby", data: 2 });
  await w.clock.run(1000);
  assert.deepEqual(w.got.map((m) => m.data), [1, 2]);
  assert.equal(w.client.state, "connected");
});

test("iterators end with the client's error, and reconnecting goes on with the rooms", async () => {
  let refuse = true;
  const w = start({ setUp: ({ network }) => ((network.ws = "refuse"), (network.plain = () => refuse && { status: 403, body: '{"protocol":1,"error":{"code":"origin_not_allowed","message":"no"}}' })) });
  const read = assert.rejects(w.room[Symbol.asyncIterator]().next(), { code: "origin_not_allowed" });
  await w.clock.run(5000);
  await read;
  assert.equal(w.client.state, "failed");
  refuse = false;
  w.client.reconnect();
  await w.ready();
  const next = w.room[Symbol.asyncIterator]().next();
  w.server.publish({ room: "lobby", data: 1 });
  await w.clock.run(5000);
  assert.equal((await next).value.data, 1);
});

// Elsewhere than in browsers there is no turn between them.
test("a room that is opened again, where frames that come together are told at once", async () => {
  const w = start({ setUp: ({ network }) => (network.together = true) });
  await w.on("websocket");
  for (let i = 0; i < 9; i++) w.server.publish({ room: "r", data: i });
  w.client.room("r");
  await w.clock.run(1000);
  w.client.room("r").close();
  const got = [];
  w.client.room("r", { last: 5 }).on("message", (m) => got.push(m.data));
  await w.clock.run(1000);
  assert.deepEqual(got, [4, 5, 6, 7, 8]);
});

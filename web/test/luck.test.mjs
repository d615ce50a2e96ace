// Answers that are none, and refusals.
import assert from "node:assert/strict";
import test from "node:test";
import { html, start, traffic, whole } from "./common.mjs";
import { Storage } from "./world.mjs";

for (const [name, answer] of Object.entries({
  "a captive portal": { status: 200, body: html },
  "truncated JSON": { status: 200, body: '{"protocol":1,"messages":[{"type":"mess' },
  "foreign JSON": { status: 200, body: '{"ok":true}' },
  // As API gateways say it.
  "a gateway's error": { status: 403, body: '{"error":{"code":"AccessDenied","message":"no"}}' },
  "a gateway's other error": { status: 404, body: '{"error":{"code":"404","message":"no"}}' },
  "a gateway's error in Culvert's words": { status: 403, body: '{"error":{"code":"forbidden","message":"no"}}' },
  "a gateway's error for a room": { status: 400, body: '{"error":{"code":"bad_room","message":"no","room":"lobby"}}' },
  "JSON null": { status: 200, body: "null" },
  "407": { status: 407, body: html },
  "403 of a filter": { status: 403, body: html },
  "502": { status: 502, body: html },
})) {
  test(name + ": the state is true, no loop, and it passes", async () => {
    const w = start({ setUp: ({ network }) => ((network.ws = "refuse"), (network.plain = () => answer)) });
    w.publish(0);
    await w.clock.run(60e3);
    assert.notEqual(w.client.state, "connected");
    assert.notEqual(w.client.state, "failed");
    assert.equal(w.states.at(-1).error?.code ?? w.states.at(-2).error.code, "bad_answer");
    assert.ok(w.network.count() <= 60, w.network.count() + " requests in a minute");
    w.network.plain = () => null;
    await w.ready();
    await w.clock.run(25e3);
    whole(w, 1);
    assert.equal(w.acks.length, 1);
  });
}

test("a refusal is Culvert's own word only where it says so", async () => {
  for (const [status, code] of [[400, "bad_room"], [403, "forbidden"], [404, "not_found"], [422, "key_conflict"]])
    for (const own of [true, false]) {
      const answer = { status, body: JSON.stringify({ protocol: own ? 1 : undefined, error: { code, message: "no" } }) };
      const w = start({ setUp: ({ network }) => ((network.ws = "refuse"), (network.plain = () => answer)) });
      const refused = (asked) => asked.then(() => assert.fail(), (e) => [e.code, e.final]);
      const page = refused(w.room.history());
      w.publish(0);
      await w.clock.run(20e3);
      assert.deepEqual(await page, own ? [code, true] : ["bad_answer", false]);
      assert.equal(w.client.state == "failed", own);
      assert.deepEqual(w.errors.map(({ e }) => e.code), own ? [code] : []);
      w.client.close();
    }
});

test("a page of history, or who is here, that a gateway makes up is none", async () => {
  const w = start({ setUp: ({ network }) => (network.plain = () => ({ status: 200, body: '{"messages":[],"members":[]}' })) });
  await w.ready();
  for (const ask of [() => w.room.history(), () => w.room.presence()]) {
    const e = ask().then(() => assert.fail(), (e) => e.code);
    await w.clock.run(5000);
    assert.equal(await e, "bad_answer");
  }
});

// What comes over a WebSocket or a stream is not what was sent: for good, or for a while.
for (const [name, rewrite] of Object.entries({
  "an echo with another nonce": (text, m) => (m.type == "reply" ? text.replace(/"data":"../, '"data":"xx') : text),
  "truncated messages": (text, m) => (m.type == "message" ? text.slice(0, -5) : text),
  "truncated everything": (text) => text.slice(0, 20),
  "somebody else's JSON": (text, m) => (m.type == "hello" ? '{"type":"hello","server":"other"}' : '{"ok":true}'),
  "null": () => "null",
  "a page": () => html,
  "an error without a code": () => '{"type":"error"}',
})) {
  for (const ws of ["ok", "refuse"]) {
    test(`${name} over ${ws == "ok" ? "WebSocket" : "streams"}`, async () => {
      const w = start({ setUp: ({ network }) => Object.assign(network, { ws, rewrite }), roomOptions: { from: "start" } });
      traffic(w, 40, 1000);
      w.publish("own");
      await w.clock.run(60e3);
      assert.equal(w.got.length, 41, "polls bring it all the same");
      assert.equal(w.acks.length, 1);
      assert.equal(w.client.state, "connected");
      assert.ok(w.network.count() < 250, w.network.count() + " requests in a minute");
      w.network.rewrite = (text) => text;
      await w.on(ws == "ok" ? "websocket" : "sse", 130e3);
      assert.equal(w.client.transport, ws == "ok" ? "websocket" : "sse");
      traffic(w, 10, 100, 40);
      await w.clock.run(5000);
      assert.equal(w.got.length, 51);
    });
  }
}

// Seconds, or a date by the clock of who answers; times that are past or make no sense are as if they were not there, and nobody
// is believed who wants to be left alone for days.
for (const status of [429, 503]) {
  for (const [name, after, least, most] of [
    ["of 7 seconds", () => "7", 6990, 30e3],
    ["that is a date", (w) => new Date(w.clock.date() + 12e3).toUTCString(), 10.9e3, 30e3],
    ["of years", () => "99999999", 299e3, 321e3],
    ["that is a date in years", (w) => new Date(w.clock.date() + 1e12).toUTCString(), 299e3, 321e3],
    ["that is a date of yesterday", (w) => new Date(w.clock.date() - 864e5).toUTCString(), 400, 21e3],
    ["that is nonsense", () => "soon", 400, 21e3],
    ["that is negative", () => "-5", 400, 21e3],
  ]) {
    test(status + " with a Retry-After " + name, async () => {
      const w = start({ setUp: ({ network, clock }) => ((network.ws = "refuse"), (network.plain = () => ({ status, headers: { "retry-after": after({ clock }) }, body: "busy" }))) });
      await w.clock.run(2000, () => w.client.state == "waiting");
      const from = w.clock.now();
      assert.equal(w.states.at(-1).error.status, status);
      await w.clock.run(least);
      assert.equal(w.network.count(from + 1), 0);
      w.network.plain = () => null;
      await w.clock.run(most - least, () => w.client.state == "connected");
      assert.equal(w.client.state, "connected");
    });
  }
}

test("a refusal of the server itself is final, and says why", async () => {
  const w = start({ setUp: ({ network }) => ((network.ws = "refuse"), (network.plain = () => ({ status: 403, body: '{"protocol":1,"error":{"code":"origin_not_allowed","message":"no","allowed":"others"}}' }))) });
  const p = w.room.publish(1);
  await w.clock.run(60e3);
  assert.equal(w.client.state, "failed");
  assert.equal(w.states.at(-1).error.code, "origin_not_allowed");
  assert.equal(w.states.at(-1).error.allowed, "others");
  await assert.rejects(p, { code: "origin_not_allowed", final: true });
  await assert.rejects(w.room.publish(2), { code: "origin_not_allowed" });
  const n = w.network.count();
  await w.clock.run(600e3);
  assert.equal(w.network.count(), n);
});

test("storage that throws, is full of nonsense, or is shared with another tab", async () => {
  const throwing = { getItem() { throw new Error("blocked"); }, setItem() { throw new Error("blocked"); } };
  const nonsense = { getItem: () => '{"bad websocket":7,"form":["x",{}],"heartbeat":[-1],"wait":null,"life websocket":[1e9,9e99]}', setItem() {} };
  for (const storage of [throwing, nonsense, null]) {
    const w = start({ options: { storage } });
    await w.on("websocket");
    assert.equal(w.client.transport, "websocket");
  }
  const storage = new Storage();
  const w = start({ options: { storage }, setUp: ({ network }) => (network.ws = "refuse") });
  const other = w.make({ storage });
  other.room("lobby");
  await w.clock.run(30e3);
  assert.deepEqual([w.client.transport, other.transport], ["sse", "sse"]);
  assert.match([...storage.items.values()][0], /bad websocket/);
});

test("an answer's time that is capped makes shorter waits", async () => {
  const w = start({ setUp: ({ network }) => Object.assign(network, { ws: "refuse", stream: () => "held", cap: 3000 }) });
  await w.on("poll");
  await w.clock.run(120e3);
  const from = w.clock.now();
  await w.clock.run(120e3);
  assert.deepEqual(w.states.filter((s) => s.at > from), []);
  const polls = w.network.log.filter((r) => r.at > from && r.path?.endsWith("/poll"));
  assert.ok(polls.length <= 80, polls.length + " polls in two minutes");
});

test("an answer from a cache does not spin", async () => {
  const stale = JSON.stringify({ protocol: 1, messages: [], cursor: "lobby=0", time: 1 });
  const w = start({ setUp: ({ network }) => Object.assign(network, { ws: "refuse", stream: () => "held", plain: (r) => (r.path.endsWith("/poll") ? { status: 200, body: stale } : null) }) });
  await w.clock.run(60e3);
  assert.ok(w.network.count() <= 80, w.network.count() + " requests in a minute");
});

for (const transports of [["websocket"], undefined]) {
  for (const plain of [{ status: 502, body: html }, "hang", { status: 503, body: "", headers: { "retry-after": "30" } }]) {
    test(`WebSockets that break as soon as they are proven: ${transports || "beside"} ${plain.status || plain}`, async () => {
      const w = start({ options: { transports }, setUp: ({ network }) => Object.assign(network, { wsAge: 100, plain: () => plain }) });
      for (let minute = 0; minute < 3; minute++) {
        const from = w.clock.now();
        await w.clock.run(60e3);
        assert.ok(w.network.count(from) <= 60, w.network.count(from) + " requests in a minute");
      }
      w.publish(0);
      w.network.wsAge = 0;
      await w.clock.run(40e3);
      assert.equal(w.client.transport, "websocket");
      whole(w, 1);
    });
  }
}

// A timer of more than 25 days would fire at once.
test("a wait of years that an answer's JSON asks for", async () => {
  const body = '{"protocol":1,"error":{"code":"store_unavailable","message":"","retry_after_ms":1e12}}';
  const w = start({ setUp: ({ network }) => ((network.ws = "refuse"), (network.plain = () => ({ status: 503, body }))) });
  await w.clock.run(2000, () => w.client.state == "waiting");
  assert.equal(w.states.at(-1).retryIn, 300e3);
  w.network.plain = () => null;
  w.publish(0);
  await w.clock.run(301e3);
  assert.equal(w.acks.length, 1);
});

test("an answer from a cache does not spin where a room is added to a stream", async () => {
  const w = start({ setUp: ({ network }) => (network.ws = "refuse") });
  await w.on("sse");
  const from = w.clock.now();
  const body = JSON.stringify({ protocol: 1, messages: [], cursor: "lobby=0", time: 1 });
  w.network.plain = (r) => (r.path.endsWith("/poll") ? { status: 200, body } : null);
  const got = [];
  w.client.room("added", { last: 1 }).on("message", (m) => got.push(m.data));
  w.server.publish({ room: "added", data: 0 });
  await w.clock.run(60e3);
  assert.ok(w.network.count(from) <= 40, w.network.count(from) + " requests in a minute");
  w.network.plain = () => null;
  w.server.publish({ room: "added", data: 1 });
  await w.clock.run(20e3);
  assert.deepEqual(got.slice(-1), [1]);
});

import assert from "node:assert/strict";
import test from "node:test";
import { Storage, world } from "./world.mjs";

// The built file, as pages get it.
const culvert = await import("../dist/culvert.js");
const start = (o) => world(culvert, o);

/** Messages 0..n-1 came, once each and in order. */
function whole(w, n, what = "") {
  assert.deepEqual(w.got.map((m) => m.data), Array.from({ length: n }, (_, i) => i), what);
}

/** Messages that others publish, one every so many milliseconds. */
function traffic(w, n, every, first = 0) {
  for (let i = 0; i < n; i++) w.clock.setTimeout(() => w.server.publish({ room: "lobby", data: first + i }), i * every);
}

test("a clean path: WebSocket, proven, and nothing else", async () => {
  const w = start({ setUp: ({ server }) => server.publish({ room: "lobby", data: 0 }), roomOptions: { last: 1 } });
  w.publish(1);
  await w.on("websocket");
  assert.ok(w.clock.now() <= 80, "connected at " + w.clock.now());
  await w.clock.run(1000);
  whole(w, 2);
  assert.equal(w.acks[0].offset, 2);
  assert.equal(w.acks[0].duplicate, false);
  assert.deepEqual(w.network.log.map((r) => r.text), ["WS /rooms/lobby/ws"]);
  assert.deepEqual(w.states.map((s) => [s.state, s.transport]), [["connecting", null], ["connected", "websocket"]]);
});

for (const [mode, within] of [["swallow", 350], ["dead", 350], ["refuse", 100]]) {
  test("WebSocket " + mode + ": plain requests at once, a stream soon", async () => {
    const w = start({ setUp: ({ server, network }) => (server.publish({ room: "lobby", data: 0 }), (network.ws = mode)), roomOptions: { from: "start" } });
    await w.clock.run(1000, () => w.got.length);
    assert.ok(w.clock.now() <= within, "first message at " + w.clock.now());
    assert.equal(await w.on("sse"), true);
    traffic(w, 20, 100, 1);
    await w.clock.run(3000);
    whole(w, 21);
  });
}

// The first message of the best of the others comes after 0.25 s where the 101 passes and nothing else does.
for (const [delay, within] of [[1, 110], [10, 170], [40, 390], [100, 510]]) {
  test(`101 and no frame, bodies held, a round trip of ${2 * delay} ms`, async () => {
    const w = start({ setUp: ({ server, network }) => (server.publish({ room: "lobby", data: 0 }), Object.assign(network, { delay, wsTrips: 4, ws: "dead", stream: () => "held" })), roomOptions: { from: "start" } });
    await w.clock.run(2000, () => w.got.length);
    assert.ok(w.clock.now() <= within, "first message at " + w.clock.now());
    await w.clock.run(30e3);
    assert.equal(w.client.transport, "poll");
    whole(w, 1);
  });

  test(`a WebSocket that works is alone, with a round trip of ${2 * delay} ms`, async () => {
    const w = start({ setUp: ({ network }) => Object.assign(network, { delay, wsTrips: 4 }) });
    await w.on("websocket");
    await w.clock.run(20e3);
    const polls = w.network.log.length - 1;
    assert.ok(polls <= (delay < 40 ? 0 : 3), polls + " requests beside it");
  });
}

test("a refusal of which only an error is told", async () => {
  const w = start({ setUp: ({ server, network }) => (server.publish({ room: "lobby", data: 0 }), (network.ws = "error")), roomOptions: { from: "start" } });
  await w.clock.run(1000, () => w.got.length);
  assert.ok(w.clock.now() <= 60, "first message at " + w.clock.now());
});

test("the forms of streams are tried in turn, and remembered", async () => {
  const storage = new Storage();
  const modes = { "GET text/event-stream": "held", "POST text/event-stream": "batched", "POST text/plain": "good" };
  const setUp = ({ network }) => {
    network.ws = "refuse";
    network.stream = (method, accept) => modes[method + " " + accept];
  };
  const w = start({ setUp, options: { storage } });
  await w.on("sse");
  const tried = (x) => x.network.log.filter((r) => r.path && r.path.endsWith("/sse")).map((r) => r.method + " " + r.accept);
  assert.deepEqual(tried(w), Object.keys(modes));
  w.client.close();
  const again = start({ setUp: (x) => (setUp(x), (x.clock.epoch += 60e3)), options: { storage } });
  await again.on("sse");
  assert.deepEqual(tried(again), ["POST text/plain"]);
  assert.ok(again.network.log[0].text.startsWith("WS") && again.network.log[1].at == 0, "the WebSocket is tried all the same, and no request waits for it");
});

test("lumps of 4 KB, and messages that push them out", async () => {
  for (let seed = 1; seed <= 20; seed++) {
    const w = start({ seed, setUp: ({ network, server }) => ((network.ws = "refuse"), (network.stream = () => "lumps"), (server.history = 1e5)) });
    const every = 10 + 300 * w.clock.random();
    const size = 100 + 600 * w.clock.random();
    for (let at = 0; at < 20e3; at += every) w.clock.setTimeout(() => w.server.publish({ room: "lobby", data: "x".repeat(size) }), at);
    await w.clock.run(40e3);
    assert.equal(w.got.at(-1).offset, w.server.room("lobby").messages.length);
    assert.ok(!w.states.some((s) => s.transport == "sse"), "seed " + seed + ": taken for a stream");
    w.client.close();
  }
});

test("nothing but complete answers: polls, and few probes", async () => {
  const w = start({
    setUp: ({ network }) => {
      network.ws = "refuse";
      network.stream = () => "held";
    },
  });
  await w.on("poll");
  traffic(w, 40, 500);
  await w.clock.run(60000);
  whole(w, 40);
  const from = w.clock.now();
  await w.clock.run(3600e3);
  const polls = w.network.count(from, "/poll");
  assert.ok(polls <= 260, polls + " polls in an idle hour");
  const probes = w.network.count(from, "WS ");
  assert.ok(probes >= 2 && probes <= 6, probes + " probes in an hour");
  assert.equal(w.client.state, "connected");
});

test("upward: a path that lets WebSockets through later is used", async () => {
  const w = start({ setUp: ({ network }) => ((network.ws = "refuse"), (network.stream = () => "refuse")) });
  await w.on("poll");
  w.network.ws = "ok";
  traffic(w, 100, 500);
  await w.clock.run(60000);
  assert.equal(w.client.transport, "websocket");
  whole(w, 100);
});

test("a WebSocket that falls silent is noticed within 20 s, and under traffic within 4", async () => {
  const w = start();
  await w.on("websocket");
  traffic(w, 40, 1000);
  await w.clock.run(3500);
  w.network.freeze();
  const from = w.clock.now();
  await w.clock.run(60000, () => w.client.transport != "websocket");
  assert.ok(w.clock.now() - from <= 20000, "noticed after " + (w.clock.now() - from));
  await w.clock.run(60000);
  whole(w, 40);

  const v = start();
  await v.on("websocket");
  await v.clock.run(1000);
  v.network.freeze();
  v.publish(0);
  const began = v.clock.now();
  await v.clock.run(60000, () => v.acks.length);
  assert.ok(v.clock.now() - began <= 4000, "acknowledged after " + (v.clock.now() - began));
  await v.clock.run(60000);
  whole(v, 1);
  assert.equal(v.acks.length, 1);
});

test("a stream that falls silent is noticed, too", async () => {
  const w = start({ setUp: ({ network }) => (network.ws = "refuse") });
  await w.on("sse");
  await w.clock.run(1000);
  w.network.freeze();
  w.publish(0);
  const from = w.clock.now();
  await w.clock.run(60000, () => w.got.length);
  assert.ok(w.clock.now() - from <= 4000, "came after " + (w.clock.now() - from));
  await w.clock.run(30000);
  w.network.freeze();
  const idle = w.clock.now();
  await w.clock.run(60000, () => w.states.some((s) => s.at > idle));
  assert.ok(w.clock.now() - idle <= 20000, "noticed after " + (w.clock.now() - idle));
});

test("a fixed lifetime is learned and overlapped", async () => {
  const w = start({ setUp: ({ network }) => (network.wsAge = 20000) });
  await w.on("websocket");
  traffic(w, 600, 500);
  await w.clock.run(100e3);
  const from = w.clock.now();
  await w.clock.run(210e3);
  whole(w, 600);
  assert.deepEqual(w.states.filter((s) => s.at > from), [], "no change is seen once the age is known");
});

test("an idle limit is learned, and heartbeats come sooner", async () => {
  const w = start({ setUp: ({ network }) => (network.wsIdle = 4000) });
  await w.on("websocket");
  await w.clock.run(60e3);
  const from = w.clock.now();
  await w.clock.run(600e3);
  assert.deepEqual(w.states.filter((s) => s.at > from), []);
  assert.equal(w.client.transport, "websocket");
});

test("three short lives demote a WebSocket, until a probe", async () => {
  const w = start();
  for (let i = 0; i < 3; i++) {
    await w.on("websocket");
    await w.clock.run(1000 + 3000 * i);
    for (const s of [...w.server.sockets]) s.kill(1006);
    await w.clock.run(100);
  }
  await w.on("sse");
  const sockets = w.network.count(0, "WS ");
  await w.clock.run(20e3);
  assert.equal(w.network.count(0, "WS "), sockets);
  assert.equal(w.client.transport, "sse");
  await w.clock.run(15e3);
  assert.equal(w.client.transport, "websocket");
});

test("a server that says goodbye is not a WebSocket that fails", async () => {
  const w = start();
  await w.on("websocket");
  for (let i = 0; i < 5; i++) {
    await w.clock.run(3000);
    const from = w.clock.now();
    w.server.restart(1000, { type: "bye", code: "draining", message: "", reconnect: "backoff", after_ms: 1500 });
    await w.clock.run(1490);
    assert.equal(w.client.state, "waiting");
    assert.equal(w.network.count(from + 1), 0, "nobody comes back before after_ms");
    await w.on("websocket", 30e3);
    assert.equal(w.client.transport, "websocket");
  }
});

test("a server that is killed ten times in a minute", async () => {
  const w = start();
  await w.on("websocket");
  for (let i = 0; i < 10; i++) {
    w.publish(i);
    await w.clock.run(3000);
    w.server.restart(2000);
    await w.clock.run(3000);
  }
  assert.ok(w.network.count() < 200, w.network.count() + " requests in a minute");
  await w.clock.run(60e3);
  whole(w, 10);
  assert.equal(w.acks.length, 10);
  await w.on("websocket", 180e3);
  assert.equal(w.client.transport, "websocket");
});

const html = "<!doctype html><title>Welcome</title>";
for (const [name, answer] of Object.entries({
  "a captive portal": { status: 200, body: html },
  "truncated JSON": { status: 200, body: '{"protocol":1,"messages":[{"type":"mess' },
  "foreign JSON": { status: 200, body: '{"ok":true}' },
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

for (const status of [429, 503]) {
  test(status + " with Retry-After is obeyed", async () => {
    const w = start({ setUp: ({ network }) => ((network.ws = "refuse"), (network.plain = () => ({ status, headers: { "retry-after": "7" }, body: "busy" }))) });
    await w.clock.run(100, () => w.client.state == "waiting");
    const from = w.clock.now();
    await w.clock.run(6990);
    assert.equal(w.network.count(from + 1), 0);
    w.network.plain = () => null;
    await w.ready(30e3);
    assert.equal(w.client.state, "connected");
  });
}

test("a refusal of the server itself is final, and says why", async () => {
  const w = start({ setUp: ({ network }) => ((network.ws = "refuse"), (network.plain = () => ({ status: 403, body: '{"error":{"code":"origin_not_allowed","message":"no","allowed":"others"}}' }))) });
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

test("a thousand publishes while offline", async () => {
  const w = start({ setUp: ({ network }) => (network.on = false) });
  for (let i = 0; i < 1000; i++) w.publish(i);
  await assert.rejects(w.room.publish("one more"), { code: "queue_full" });
  await w.clock.run(120e3);
  assert.notEqual(w.client.state, "connected");
  assert.ok(w.network.count(60e3) <= 60, w.network.count(60e3) + " requests in a minute");
  w.network.on = true;
  await w.on("websocket");
  await w.clock.run(5000);
  whole(w, 1000);
  assert.deepEqual(w.acks.map((a) => a.offset), Array.from({ length: 1000 }, (_, i) => i + 1));
  await assert.rejects(w.room.publish(new Array(1e6).fill("x").join("")), { code: "message_too_large" });
});

test("doubled requests and lost answers: once each, in order", async () => {
  for (const seed of [1, 2, 3, 4, 5]) {
    const w = start({
      seed,
      setUp: ({ clock, network }) => {
        network.ws = "refuse";
        network.stream = () => "held";
        network.plain = (r) => (r.method == "POST" && clock.random() < 0.3 ? "lost" : clock.random() < 0.5 ? "twice" : null);
      },
    });
    for (let i = 0; i < 40; i++) w.clock.setTimeout(() => w.publish(i), i * 200);
    await w.clock.run(300e3, () => w.acks.length == 40);
    await w.clock.run(30e3);
    whole(w, 40, "seed " + seed);
    assert.deepEqual(w.acks.map((a) => a.data), Array.from({ length: 40 }, (_, i) => i));
  }
});

test("a refusal rejects its own promise only", async () => {
  for (const ws of ["ok", "refuse"]) {
    const w = start({ setUp: ({ server, network }) => ((network.ws = ws), server.publish({ room: "lobby", data: "first", key: "k" })) });
    w.publish(0);
    w.publish("other", { key: "k" });
    w.publish(1);
    await w.clock.run(5000);
    whole(w, 2);
    assert.equal(w.errors.length, 1);
    assert.equal(w.errors[0].e.code, "key_conflict");
    await assert.rejects(w.room.publish(undefined), { code: "bad_json" });
    await assert.rejects(w.room.publish(1n), { code: "bad_json" });
  }
});

test("batches that are too large for the path are split", async () => {
  const w = start({
    setUp: ({ network, server }) => {
      network.ws = "refuse";
      server.limit = 2;
    },
  });
  for (let i = 0; i < 60; i++) w.publish(i);
  await w.clock.run(20e3);
  whole(w, 60);
  w.publish("x".repeat(3000));
  w.publish(60);
  await w.clock.run(20e3);
  whole(w, 61);
  assert.equal(w.errors[0].e.code, "body_too_large");
});

test("publishes that the server cannot take are tried less and less often", async () => {
  for (const ws of ["ok", "refuse"]) {
    let tried = 0;
    let well = false;
    const w = start({ setUp: ({ network, server }) => {
      network.ws = ws;
      network.plain = (r) => (r.path == "/publish" ? { status: 503, body: "{}" } : null);
      const { publish } = server;
      server.publish = (m) => (well ? publish.call(server, m) : (tried++, { status: 503, error: { code: "store_unavailable", message: "" } }));
    } });
    w.publish(0);
    await w.clock.run(60e3);
    const tries = tried + w.network.count(0, "POST /publish");
    assert.ok(tries >= 5 && tries <= 20, tries + " tries in a minute");
    well = true;
    w.network.plain = () => null;
    await w.clock.run(21e3);
    whole(w, 1);
  }
});

test("gaps are told, once, on every transport", async () => {
  for (const [ws, stream] of [["ok", "good"], ["refuse", "good"], ["refuse", "held"]]) {
    const w = start({ setUp: ({ network, server }) => ((network.ws = ws), (network.stream = () => stream), (server.history = 5)) });
    await w.ready();
    await w.clock.run(10e3);
    w.server.publish({ room: "lobby", data: 0 });
    await w.clock.run(5000);
    w.network.on = false;
    w.network.freeze();
    for (let i = 1; i < 20; i++) w.server.publish({ room: "lobby", data: i });
    await w.clock.run(30e3);
    w.network.on = true;
    await w.ready();
    await w.clock.run(30e3);
    assert.deepEqual(w.got.map((m) => m.data), [0, 15, 16, 17, 18, 19], ws + " " + stream);
    assert.equal(w.gaps.length, 1);
    assert.equal(w.gaps[0].reason, "evicted");
    w.server.lose("lobby");
    w.server.restart(100);
    w.server.publish({ room: "lobby", data: "new" });
    await w.clock.run(60e3);
    assert.equal(w.gaps.length, 2);
    assert.equal(w.gaps[1].reason, "lost");
    assert.equal(w.got.at(-1).data, "new");
  }
});

test("a pipe that begins past the reader's place is asked for what is missing", async () => {
  // The first poll places the room, the next ones hang, a message comes, and only then the WebSocket's handshake
  // reaches the server, which starts it after that message.
  let polls = 0;
  const w = start({ setUp: ({ network }) => ((network.delay = 50), (network.wsTrips = 20), (network.plain = (r) => (r.path.endsWith("/poll") && polls++ ? "hang" : null))) });
  await w.clock.run(900);
  assert.equal(w.client.transport, "poll");
  w.server.publish({ room: "lobby", data: 0 });
  traffic(w, 30, 37, 1);
  await w.clock.run(1200);
  assert.equal(w.client.transport, "websocket");
  await w.clock.run(300);
  whole(w, 31);
});

test("a frame that was swallowed is asked for", async () => {
  for (const ws of ["ok", "refuse"]) {
    let swallowed = 0;
    const w = start({ setUp: ({ network }) => ((network.ws = ws), (network.swallow = (m) => m.data == 3 && !swallowed++)) });
    await w.on(ws == "ok" ? "websocket" : "sse");
    traffic(w, 10, 100);
    await w.clock.run(3000);
    whole(w, 10, ws);
    assert.equal(swallowed > 0, true);
    w.server.publish({ room: "lobby", data: 10 });
    await w.clock.run(1000);
    whole(w, 11, ws);
  }
});

test("a request on a connection that was forgotten is repeated on another", async () => {
  let hung = 0;
  const w = start({ setUp: ({ network }) => ((network.ws = "refuse"), (network.stream = () => "held"), (network.plain = (r) => (r.path == "/publish" && hung++ < 1 ? "hang" : null))) });
  await w.on("poll");
  await w.clock.run(20e3);
  const from = w.clock.now();
  w.publish(0);
  await w.clock.run(10e3, () => w.acks.length);
  assert.ok(w.clock.now() - from < 1500, "answered after " + (w.clock.now() - from));
  assert.equal(w.network.count(from, "POST /publish"), 2);
});

test("several rooms, their places and their presence", async () => {
  for (const ws of ["ok", "refuse"]) {
    const w = start({ setUp: ({ network, server }) => {
      network.ws = ws;
      for (const room of ["lobby", "b", "c"]) for (let i = 0; i < 5; i++) server.publish({ room, data: room + i });
    }, roomOptions: { last: 1 } });
    const more = [];
    w.client.room("b", { from: "start" }).on("message", (m) => more.push(m.data));
    const c = w.client.room("c");
    c.on("message", (m) => more.push(m.data));
    assert.equal(w.client.room("c"), c);
    await w.ready();
    await w.clock.run(5000);
    assert.deepEqual(w.got.map((m) => m.data), ["lobby4"]);
    assert.deepEqual(more, ["b0", "b1", "b2", "b3", "b4"]);
    for (const room of ["lobby", "b", "c"]) w.server.publish({ room, data: room + 5 });
    await w.clock.run(5000);
    assert.deepEqual(more.slice(5), ["b5", "c5"]);
    const late = w.client.room("d", { from: "start" });
    const d = [];
    late.on("message", (m) => d.push(m.data));
    w.server.publish({ room: "d", data: 1 });
    c.close();
    await w.clock.run(5000);
    for (const room of ["c", "d"]) w.server.publish({ room, data: 6 });
    await w.clock.run(5000);
    assert.deepEqual(d, [1, 6]);
    assert.deepEqual(more.slice(5), ["b5", "c5"]);
    w.server.restart(1000);
    await w.clock.run(30e3);
    for (const room of ["lobby", "b", "c", "d"]) w.server.publish({ room, data: 7 });
    await w.clock.run(5000);
    assert.deepEqual([w.got.at(-1).data, more.at(-1), d.at(-1)], [7, 7, 7]);
  }
});

test("a cursor from before goes on", async () => {
  const w = start({ setUp: ({ server }) => [0, 1, 2].forEach((i) => server.publish({ room: "lobby", data: i })), roomOptions: { cursor: "lobby=e0001.0.x" } });
  await w.clock.run(1000);
  const cursor = w.room.cursor;
  w.client.close();
  const next = start({ setUp: ({ server }) => Object.assign(server, { rooms: w.server.rooms }), roomOptions: { cursor } });
  next.server.publish({ room: "lobby", data: 3 });
  await next.clock.run(1000);
  assert.deepEqual(next.got.map((m) => m.data), [3]);
  assert.throws(() => next.client.room("x", { cursor: "nonsense" }), { code: "bad_cursor" });
  assert.throws(() => next.client.room("a b"), { code: "bad_room" });
});

test("a token is asked for again when the old one has expired", async () => {
  for (const ws of ["ok", "refuse"]) {
    let asked = 0;
    const w = start({ options: { token: async () => "t" + ++asked }, setUp: ({ server, network }) => ((network.ws = ws), (server.token = "t1")) });
    await w.ready();
    assert.equal(asked, 1);
    w.server.token = "t2";
    w.server.restart(100);
    await w.clock.run(60e3);
    assert.equal(w.client.state, "connected");
    assert.equal(asked, 2);
  }
  const w = start({ options: { token: () => Promise.reject(new Error("no")) } });
  await w.clock.run(60e3);
  assert.notEqual(w.client.state, "connected");
  assert.equal(w.states.findLast((s) => s.error).error.code, "token_failed");
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

test("closing ends everything", async () => {
  const w = start();
  await w.on("websocket");
  const all = (async () => {
    const seen = [];
    for await (const m of w.room) seen.push(m.data);
    return seen;
  })();
  w.server.publish({ room: "lobby", data: 1 });
  await w.clock.run(100);
  w.network.freeze();
  const p = w.room.publish("late");
  w.client.close();
  await assert.rejects(p, { code: "closed" });
  await assert.rejects(w.room.publish("later"), { code: "closed" });
  assert.deepEqual(await all, [1]);
  assert.equal(w.client.state, "closed");
  const n = w.network.count();
  await w.clock.run(3600e3);
  assert.equal(w.network.count(), n);
  assert.equal(w.server.sockets.size, 0);
});

test("forced transports", async () => {
  for (const transport of ["websocket", "sse", "poll"]) {
    const w = start({ options: { transports: [transport] } });
    await w.ready();
    await w.clock.run(5000);
    assert.equal(w.client.transport, transport);
    traffic(w, 10, 100);
    await w.clock.run(5000);
    w.client.use(["poll"]);
    await w.on("poll");
    w.client.use();
    await w.on("websocket");
    traffic(w, 10, 100, 10);
    await w.clock.run(5000);
    whole(w, 20);
  }
  const w = start({ options: { transports: ["websocket"] }, setUp: ({ network }) => (network.ws = "refuse") });
  await w.clock.run(60e3);
  assert.ok(["waiting", "connecting"].includes(w.client.state));
  assert.ok(w.network.count() <= 20, w.network.count() + " requests in a minute");
  w.network.ws = "ok";
  await w.on("websocket");
  assert.equal(w.client.transport, "websocket");
});

test("only WebSockets allowed, and they are short", async () => {
  const w = start({ options: { transports: ["websocket"] } });
  for (let i = 0; i < 6; i++) {
    assert.ok(await w.on("websocket", 30e3), "round " + i);
    w.server.publish({ room: "lobby", data: i });
    await w.clock.run(1000 + 400 * i);
    for (const s of [...w.server.sockets]) s.kill(1006);
    await w.clock.run(100);
  }
  await w.on("websocket");
  whole(w, 6);
});

test("sleep and wake, and clocks that jump", async () => {
  for (const [ws, transport] of [["ok", "websocket"], ["refuse", "sse"]]) {
    const w = start({ setUp: ({ network }) => (network.ws = ws) });
    await w.on(transport);
    await w.clock.run(5000);
    w.clock.epoch += 1e10; // the wall clock is set
    traffic(w, 5, 100);
    await w.clock.run(20e3);
    w.clock.epoch -= 3e10;
    traffic(w, 5, 100, 5);
    await w.clock.run(20e3);
    const changes = w.states.length;
    assert.equal(changes, w.states.filter((s) => s.at < 5000).length, "no change of state for a clock");
    // An hour of sleep: no timer runs, the connections are gone.
    w.network.freeze();
    for (let i = 10; i < 15; i++) w.server.publish({ room: "lobby", data: i });
    w.clock.ms += 3600e3;
    const woke = w.clock.now();
    await w.clock.run(60e3, () => w.got.length == 15);
    assert.ok(w.clock.now() - woke < 5000, "up to date after " + (w.clock.now() - woke));
    whole(w, 15);
  }
});

test("what the browser says of the network", async () => {
  globalThis.self = new EventTarget();
  try {
    const w = start({ setUp: ({ network }) => (network.on = false) });
    await w.clock.run(120e3, () => w.client.state == "waiting" && w.clock.now() > 60e3 && w.states.at(-1).retryIn > 8000);
    w.network.on = true;
    self.dispatchEvent(new Event("online"));
    const from = w.clock.now();
    await w.on("websocket");
    assert.ok(w.clock.now() - from < 100, "tried at once");
    // Another network: what had been given up is tried again, at once.
    w.network.ws = "refuse";
    for (const s of [...w.server.sockets]) s.kill(1006);
    await w.on("sse");
    w.network.ws = "ok";
    self.dispatchEvent(new Event("online"));
    await w.on("websocket", 1000);
    assert.equal(w.client.transport, "websocket");
    // A connection that did not survive is noticed at once, one that did stays.
    const states = w.states.length;
    self.dispatchEvent(new Event("pageshow"));
    await w.clock.run(5000);
    assert.equal(w.states.length, states);
    w.network.freeze();
    self.dispatchEvent(new Event("online"));
    const frozen = w.clock.now();
    await w.clock.run(5000, () => w.states.length > states);
    assert.ok(w.clock.now() - frozen < 1000);
    w.client.close();
    const n = w.network.count();
    self.dispatchEvent(new Event("online"));
    await w.clock.run(60e3);
    assert.equal(w.network.count(), n);
  } finally {
    delete globalThis.self;
  }
});

test("many rooms with long names", async () => {
  for (const ws of ["ok", "refuse"]) {
    const w = start({ room: "", setUp: ({ network }) => (network.ws = ws) });
    const names = Array.from({ length: 40 }, (_, i) => "room" + i + "x".repeat(100));
    const got = [];
    for (const name of names) w.client.room(name).on("message", (m) => got.push(m.room));
    await w.clock.run(10e3);
    for (const room of names) w.server.publish({ room, data: 1 });
    await w.clock.run(10e3);
    assert.deepEqual([...got].sort(), [...names].sort());
    w.server.restart(100);
    await w.clock.run(20e3);
    for (const room of names) w.server.publish({ room, data: 2 });
    await w.clock.run(10e3);
    assert.equal(got.length, 80);
    assert.equal(w.client.transport, ws == "ok" ? "websocket" : "sse");
  }
});

test("messages without history, and who is here", async () => {
  for (const ws of ["ok", "refuse"]) {
    const w = start({ setUp: ({ network }) => (network.ws = ws), roomOptions: { presence: true } });
    await w.ready();
    await w.clock.run(5000);
    const seen = [];
    w.room.on("presence", (p) => seen.push(p.event));
    w.publish("now", { ephemeral: true });
    for (const event of ["join", "leave", "join"])
      for (const read of [...w.server.room("lobby").readers]) read({ type: "presence", room: "lobby", event, client: "c", since: seen.length, count: 1, time: 0 }), await w.clock.run(100);
    await w.clock.run(1000);
    assert.deepEqual(w.got.map((m) => [m.data, m.offset]), [["now", undefined]]);
    assert.equal(w.acks[0].offset, undefined);
    assert.deepEqual(seen, ["join", "leave", "join"]);
  }
});

test("a listener that throws stops nobody else", async () => {
  const w = start();
  const thrown = [];
  const { setTimeout } = globalThis;
  globalThis.setTimeout = (f) => thrown.push(f);
  try {
    w.room.on("message", () => {
      throw new Error("of the page");
    });
    const after = [];
    w.room.on("message", (m) => after.push(m.data));
    await w.on("websocket");
    traffic(w, 3, 10);
    await w.clock.run(1000);
    assert.deepEqual(after, [0, 1, 2]);
    assert.equal(thrown.length, 3);
    assert.throws(thrown[0], /of the page/);
  } finally {
    globalThis.setTimeout = setTimeout;
  }
});

test("diagnose says what the path does", async () => {
  const w = start({ setUp: ({ network }) => ((network.ws = "dead"), (network.stream = (m) => (m == "GET" ? "held" : "good"))) });
  await w.ready();
  let report;
  w.client.diagnose().then((r) => (report = r));
  await w.clock.run(120e3, () => report);
  const results = Object.fromEntries(report.findings.map((f) => [f.test, f.ok]));
  assert.equal(results["plain request"], true);
  assert.equal(results["WebSocket, 16 KiB each way"], false);
  assert.equal(results["stream GET text/event-stream"], false);
  assert.equal(results["stream POST text/event-stream"], true);
  assert.match(report.text, /WebSocket, 16 KiB/);
});

// Everything at once: whatever happened in between, once the path is well again nothing is missing, nothing came twice,
// every publish was answered once, and nobody was flooded.
const seeds = +(process.env.CULVERT_SEEDS || 30);
for (let seed = 1; seed <= seeds; seed++) {
  test("misfortune " + seed, async () => {
    const w = start({ seed: seed * 7919 });
    const { clock, network, server } = w;
    const pick = (list) => list[Math.floor(clock.random() * list.length)];
    let sent = 0;
    let published = 0;
    for (let at = 0; at < 300e3; at += 3000 + clock.random() * 9000) {
      clock.setTimeout(() => {
        network.on = clock.random() > 0.15;
        network.ws = pick(["ok", "ok", "refuse", "swallow", "dead"]);
        const mode = pick(["good", "good", "held", "batched", "refuse"]);
        network.stream = () => mode;
        network.delay = pick([1, 20, 150]);
        network.wsAge = pick([0, 0, 2500, 9000]);
        network.wsIdle = pick([0, 0, 3000]);
        network.cap = pick([0, 0, 4000]);
        const bad = pick([() => null, () => null, () => "twice", () => (clock.random() < 0.3 ? "lost" : null), () => (clock.random() < 0.3 ? { status: 502, body: html } : null), () => ({ status: 200, body: html }), () => "hang"]);
        network.plain = bad;
        if (clock.random() < 0.3) network.freeze();
        if (clock.random() < 0.1) server.restart(clock.random() * 4000);
        if (clock.random() < 0.1) server.restart(500, { type: "bye", code: "draining", message: "", reconnect: "backoff", after_ms: 700 });
      }, at);
    }
    for (let at = 0; at < 300e3; at += 200 + clock.random() * 3000) {
      clock.setTimeout(() => {
        if (clock.random() < 0.5) server.publish({ room: "lobby", data: { other: sent++ } });
        else w.publish({ own: published++ });
      }, at);
    }
    await clock.run(300e3);
    for (let minute = 0; minute < 5; minute++) {
      const n = network.log.filter((r) => r.at >= minute * 60e3 && r.at < (minute + 1) * 60e3).length;
      assert.ok(n < 400, n + " requests in minute " + minute);
    }
    Object.assign(network, { on: true, ws: "ok", stream: () => "good", delay: 20, wsAge: 0, wsIdle: 0, cap: 0, plain: () => null });
    await clock.run(120e3);
    assert.equal(w.client.state, "connected");
    const room = server.room("lobby");
    assert.deepEqual(w.gaps, []);
    // The start was "now", whenever that was.
    const first = w.got[0].offset;
    assert.deepEqual(w.got.map((m) => m.offset), Array.from({ length: w.got.length }, (_, i) => first + i));
    assert.equal(w.got.at(-1).offset, room.messages.length);
    const own = room.messages.filter((m) => m.data.own != null).map((m) => m.data.own);
    assert.deepEqual(own, Array.from({ length: published }, (_, i) => i), "published once each, in order");
    assert.equal(w.acks.length, published);
    assert.deepEqual(w.errors, []);
    w.client.close();
  });
}

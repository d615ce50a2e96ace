// Which way is taken, and how soon.
import assert from "node:assert/strict";
import test from "node:test";
import { start, traffic, whole } from "./common.mjs";
import { Storage } from "./world.mjs";

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

test("streams that failed by chance are tried again soon after", async () => {
  let held = true;
  // The tries take longer than the time to the next ones.
  const w = start({ setUp: ({ network }) => Object.assign(network, { ws: "dead", stream: () => (held ? "held" : "good") }) });
  await w.on("poll");
  await w.clock.run(15e3, () => w.client.reason.includes("held"));
  assert.ok(w.clock.now() > 5500 && w.clock.now() < 8000, "tried until " + w.clock.now());
  held = false;
  const from = w.clock.now();
  await w.on("sse");
  assert.ok(w.clock.now() - from < 9000, "and then after " + (w.clock.now() - from));
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

test("WebSockets or streams alone, where neither works at first", async () => {
  const w = start({ options: { transports: ["websocket", "sse"] }, setUp: ({ network }) => Object.assign(network, { ws: "swallow", stream: () => "held" }) });
  w.publish(0);
  await w.clock.run(60e3);
  assert.ok(w.states.some((s) => s.state == "waiting" && s.retryIn));
  assert.ok(w.network.count() <= 40, w.network.count() + " requests in a minute");
  Object.assign(w.network, { ws: "ok", stream: () => "good" });
  await w.clock.run(40e3);
  assert.equal(w.client.state, "connected");
  assert.equal(w.acks.length, 1);
});

test("what comes back to a WebSocket's ping has to be what was sent this time", async () => {
  const old = [];
  const proof = (text, m) => m.type == "reply" && m.data && m.data.length >= 16384;
  for (const [name, rewrite] of [
    ["what was sent before", (text, m) => (proof(text, m) ? JSON.stringify({ ...m, data: old[0] }) : text)],
    ["cut", (text, m) => (proof(text, m) ? JSON.stringify({ ...m, data: m.data.slice(0, -1) }) : text)],
    ["nothing", (text, m) => (proof(text, m) ? JSON.stringify({ ...m, data: undefined }) : text)],
  ]) {
    const before = start({ seed: 7, setUp: ({ network }) => (network.rewrite = (text, m) => (proof(text, m) && old.push(m.data), text)) });
    await before.on("websocket");
    const w = start({ seed: 8, roomOptions: { from: "start" }, setUp: ({ network }) => (network.rewrite = rewrite) });
    traffic(w, 10, 1000);
    await w.clock.run(25e3);
    assert.ok(!w.states.some((s) => s.transport == "websocket"), name);
    assert.match(w.client.reason, /changed/, name);
    whole(w, 10, name);
  }
});

test("what failed is forgotten after half an hour", async () => {
  for (const [minutes, remembered] of [[29, true], [31, false]]) {
    const storage = new Storage();
    const before = start({ options: { storage }, setUp: ({ network }) => (network.ws = "refuse") });
    await before.clock.run(1000);
    before.client.close();
    const w = start({ room: "", options: { storage } });
    await w.clock.run(minutes * 60e3);
    w.client.room("lobby");
    await w.clock.run(1);
    assert.equal(w.network.count(0, "/poll"), remembered ? 1 : 0, minutes + " minutes");
  }
});

// What is learned from how connections end.
import assert from "node:assert/strict";
import test from "node:test";
import { start, traffic, whole } from "./common.mjs";
import { Storage } from "./world.mjs";

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

// As in a browser over HTTP/2, which sends every request on the one connection that it has.
test("a WebSocket that falls silent together with all plain requests is noticed by another one", async () => {
  const storage = new Storage();
  const w = start({ options: { storage } });
  await w.on("websocket");
  await w.clock.run(3000);
  w.network.freeze(Infinity);
  w.publish(0);
  const from = w.clock.now();
  await w.clock.run(60000, () => w.acks.length);
  assert.ok(w.clock.now() - from <= 3000, "acknowledged after " + (w.clock.now() - from));
  // And again, while the request that went with the first one still waits.
  w.network.freeze(Infinity);
  w.publish(1);
  const again = w.clock.now();
  await w.clock.run(60000, () => w.acks.length > 1);
  assert.ok(w.clock.now() - again <= 3000, "acknowledged after " + (w.clock.now() - again));
  await w.clock.run(30000);
  for (let i = 2; i < 5; i++) {
    w.network.freeze(Infinity);
    const idle = w.clock.now();
    await w.clock.run(100);
    w.server.publish({ room: "lobby", data: i });
    await w.clock.run(60000, () => w.got.length > i);
    assert.ok(w.clock.now() - idle <= 20000, "noticed after " + (w.clock.now() - idle));
    await w.clock.run(10000);
  }
  whole(w, 5);
  assert.deepEqual(w.states.filter((s) => s.at > from), [], "nobody sees it");
  assert.ok([...storage.items.values()].join().includes('"heartbeat":['), "that idle connections are forgotten is learned");
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

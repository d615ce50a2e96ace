import assert from "node:assert/strict";
import test from "node:test";
import { html, start, whole } from "./common.mjs";

test("an attempt that comes late breaks no order", async () => {
  // Requests take from no time to several seconds, so that they overtake each other; some batches are refused as too large.
  for (let seed = 1; seed <= 40; seed++) {
    const w = start({
      seed,
      setUp: ({ clock, server, network }) => {
        network.ws = "refuse";
        network.plain = (r) => (r.path == "/publish" && clock.random() < 0.5 ? ((server.slow = 10 ** (4 * clock.random())), "slow") : null);
        server.limit = seed % 2 ? 0.3 : 1000;
      },
    });
    const n = 60;
    for (let i = 0; i < n; i++) w.clock.setTimeout(() => w.publish(i), i * 150 * w.clock.random());
    await w.clock.run(120e3);
    const sent = w.server.room("lobby").messages.map((m) => m.data);
    assert.equal(new Set(sent).size, n, "seed " + seed);
    assert.equal(sent.length, n, "seed " + seed);
    assert.deepEqual(w.acks.map((a) => a.data), sent, "seed " + seed);
    assert.deepEqual(w.got.map((m) => m.data), sent, "seed " + seed);
    assert.deepEqual(w.acks.map((a) => a.offset), sent.map((_, i) => i + 1));
    w.client.close();
  }
});

test("a path that blocks /publish blocks nothing else, and what waits is published when it ends", async () => {
  const w = start({ setUp: ({ network }) => Object.assign(network, { ws: "refuse", plain: (r) => (r.path == "/publish" ? { status: 403, body: "<html>" } : null) }) });
  await w.on("sse");
  w.publish(0);
  w.server.publish({ room: "lobby", data: "from elsewhere" });
  await w.clock.run(60e3);
  assert.equal(w.client.state, "connected");
  assert.deepEqual(w.got.map((m) => m.data), ["from elsewhere"]);
  assert.ok(w.network.count(0, "/publish") <= 20);
  w.network.plain = () => null;
  await w.clock.run(21e3);
  assert.equal(w.acks.length, 1);
});

test("rooms that are added and left while it connects", async () => {
  for (const ws of ["ok", "refuse", "swallow", "dead"]) {
    for (let seed = 1; seed <= 10; seed++) {
      const w = start({ seed, room: "", setUp: ({ network }) => ((network.ws = ws), (network.delay = 30)) });
      const { clock, server } = w;
      const got = {};
      const listen = (name) => w.client.room(name, { from: "start" }).on("message", (m) => (got[name] = got[name] || []).push(m.data));
      for (let i = 0; i < 12; i++) {
        clock.setTimeout(() => listen("r" + i), 1200 * clock.random());
        clock.setTimeout(() => server.publish({ room: "r" + i, data: 0 }), 1200 * clock.random());
      }
      for (let i = 0; i < 4; i++) {
        clock.setTimeout(() => w.client.room("left" + i), 600 * clock.random());
        clock.setTimeout(() => w.client.room("left" + i).close(), 600 + 600 * clock.random());
      }
      await clock.run(20e3);
      for (let i = 0; i < 12; i++) server.publish({ room: "r" + i, data: 1 });
      await clock.run(20e3);
      for (let i = 0; i < 12; i++) assert.deepEqual(got["r" + i], [0, 1], `${ws}, seed ${seed}, room ${i}`);
      assert.equal(server.room("left0").readers.size, 0);
      w.client.close();
    }
  }
});

test("a queue that is bounded by bytes, and by what connect was told", async () => {
  const w = start({ options: { queue: { messages: 3, bytes: 1000 } }, setUp: ({ network }) => (network.on = false) });
  w.publish("x".repeat(600));
  await assert.rejects(w.room.publish("x".repeat(600)), { code: "queue_full" });
  w.publish(1);
  w.publish(2);
  await assert.rejects(w.room.publish(3), { code: "queue_full" });
  w.network.on = true;
  await w.ready();
  await w.clock.run(5000);
  assert.equal(w.acks.length, 3);
  w.publish(4);
  await w.clock.run(5000);
  assert.equal(w.acks.length, 4);
});

test("a close of the server's says why by its code", async () => {
  for (const [code, reason, want] of [[4002, "slow: took nothing for 10 s", "slow"], [4199, "", "closed_4199"], [4100, "draining", "draining"]]) {
    const w = start({ options: { transports: ["websocket"] } });
    await w.on("websocket");
    await w.clock.run(4000);
    for (const s of [...w.server.sockets]) s.kill(code, reason);
    w.network.ws = "refuse";
    await w.clock.run(30);
    const told = w.states.find((s) => s.at > 4000);
    assert.equal(told.error ? told.error.code : told.reason.split(":")[0], want);
    w.client.close();
  }
});

test("nobody who does not look at a promise hears of it", async () => {
  const heard = [];
  const hear = (e) => heard.push(e);
  process.on("unhandledRejection", hear);
  try {
    for (const ws of ["ok", "refuse", "swallow", "dead"]) {
      const w = start({ options: { token: () => Promise.reject(new Error("no")) }, setUp: ({ network }) => (network.ws = ws) });
      w.room.publish(1);
      await w.clock.run(5000);
      w.client.diagnose().catch(() => {});
      await w.clock.run(1000);
      w.client.close();
      const v = start({ setUp: ({ network }) => Object.assign(network, { ws, plain: () => "lost" }) });
      v.room.publish(1);
      v.room.publish(undefined);
      await v.clock.run(20e3);
      v.client.close();
      v.room.publish(2);
      await v.clock.run(20e3);
    }
    await new Promise((done) => setTimeout(done, 20));
    assert.deepEqual(heard, []);
  } finally {
    process.off("unhandledRejection", hear);
  }
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

test("a path that takes no large bodies is found out, and so is when it takes them again", async () => {
  const w = start({ setUp: ({ network }) => ((network.ws = "refuse"), (network.plain = (r) => (r.size > 700 ? { status: 413, body: html } : null))) });
  await w.on("sse");
  for (let i = 0; i < 200; i++) w.publish(i);
  await w.clock.run(60e3);
  whole(w, 200);
  assert.deepEqual(w.errors, []);
  assert.ok(w.network.count(0, "/publish") < 80, w.network.count(0, "/publish") + " requests");
  w.publish("x".repeat(1000));
  w.network.plain = () => null;
  await w.clock.run(5000);
  assert.equal(w.acks.length, 201);
  const n = w.network.count(0, "/publish");
  for (let i = 0; i < 800; i++) w.publish(i);
  await w.clock.run(20e3);
  assert.equal(w.acks.length, 1001);
  assert.ok(w.network.count(0, "/publish") - n < 20, "few large batches again");
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

test("a copy of a request that fails is not the end of the other", async () => {
  let asked = 0;
  let answers;
  const w = start({ options: { transports: ["websocket"] }, setUp: ({ network, server }) => {
    server.slow = 1200;
    network.plain = (r) => (r.path.endsWith("/history") ? answers[Math.min(asked++, answers.length - 1)] : null);
  } });
  await w.ready();
  const ask = async (...list) => {
    answers = list;
    asked = 0;
    let page;
    w.room.history().then((p) => (page = p), (e) => (page = e));
    const from = w.clock.now();
    await w.clock.run(20e3, () => page);
    return { page, took: w.clock.now() - from };
  };
  const bad = { status: 502, body: "" };
  assert.ok((await ask("slow", bad)).page.messages);
  assert.ok((await ask("slow", bad, null)).page.messages);
  // Where all have failed there is nothing to wait for, and where the server has spoken neither.
  assert.deepEqual(await ask(bad).then((r) => [r.page.code, r.took]), ["bad_answer", 20]);
  for (const headers of [{}, { "retry-after": "3" }]) {
    const told = await ask("hang", { status: headers["retry-after"] ? 503 : 403, headers, body: '{"protocol":1,"error":{"code":"told","message":""}}' });
    assert.equal(told.page.code, "told");
    assert.ok(told.took < 1000, "after " + told.took);
  }
  const none = await ask("hang");
  assert.equal(none.page.code, "timeout");
  assert.equal(none.took, 10e3);
});

test("the late answer to what was given up ends no other batch", async () => {
  const bodies = [];
  const w = start({ room: "" });
  const { network, server, clock } = w;
  const fetch = (url, init) => (String(url).includes("/publish") && bodies.push(init.body), network.fetch(url, init));
  const client = w.make({ fetch, transports: ["poll"] });
  const room = client.room("lobby");
  await clock.run(1000);
  server.slow = 3000;
  network.plain = (r) => (r.path == "/publish" ? "slow" : { status: 403, body: '{"protocol":1,"error":{"code":"origin_not_allowed","message":"no"}}' });
  const a = assert.rejects(room.publish("a"), { code: "origin_not_allowed" });
  client.reconnect();
  await clock.run(1000, () => client.state == "failed");
  await a;
  network.plain = (r) => (r.path == "/publish" ? "slow" : null);
  client.reconnect();
  await clock.run(1000);
  const acks = [];
  room.publish("b").then((p) => acks.push(p.offset));
  await clock.run(100);
  room.publish("c").then((p) => acks.push(p.offset));
  await clock.run(20e3);
  assert.deepEqual(acks, [2, 3]);
  assert.ok(!bodies.some((text) => text.includes('"b"') && text.includes('"c"')), "b was sent again while it was under way");
});

// A filter that keeps bodies to look at them, for ever.
test("a path that holds /publish does no harm to the WebSocket that is made meanwhile, which brings what waits", async () => {
  for (const wsTrips of [40, 100]) {
    const w = start({ setUp: ({ network }) => Object.assign(network, { wsTrips, plain: (r) => (r.path == "/publish" ? "hang" : null) }) });
    for (let i = 0; i < 30; i++) w.clock.setTimeout(() => w.publish(i), i * 1000);
    await w.clock.run(40e3);
    assert.deepEqual(w.states.map((s) => s.transport), [null, "poll", "websocket"]);
    assert.deepEqual(w.acks.map((a) => a.data), Array.from({ length: 30 }, (_, i) => i));
    assert.ok(w.acks[0].at < 3000, "published after " + w.acks[0].at);
    whole(w, 30);
  }
});

test("a path that holds /publish does no harm to a stream", async () => {
  const w = start({ setUp: ({ network }) => Object.assign(network, { ws: "refuse", plain: (r) => (r.path == "/publish" ? "hang" : null) }) });
  await w.on("sse");
  const changes = w.states.length;
  for (let i = 0; i < 30; i++) w.clock.setTimeout(() => w.publish(i), i * 1000);
  await w.clock.run(60e3);
  assert.equal(w.states.length, changes);
  assert.ok(w.network.count() < 100, w.network.count() + " requests in a minute");
  w.network.plain = () => null;
  await w.clock.run(31e3);
  assert.equal(w.acks.length, 30);
  whole(w, 30);
});

test("a message of 700 KB on a line that takes 14 s for it", async () => {
  const w = start({ options: { queue: { bytes: 1e7 } }, setUp: ({ network, server }) => {
    Object.assign(network, { ws: "refuse", stream: () => "held" });
    network.plain = (r) => (r.size > 1000 ? "slow" : null);
    server.slow = 14e3;
  } });
  await w.ready();
  w.publish("x".repeat(700e3));
  await w.clock.run(20e3);
  assert.deepEqual([w.acks.length, w.errors.length], [1, 0]);
});

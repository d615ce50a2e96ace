import assert from "node:assert/strict";
import test from "node:test";
import { start, whole } from "./common.mjs";

// A server that restarts is not a path that blocks WebSockets. The longest back-off is 20 s.
for (const [name, bye] of Object.entries({ "says goodbye": "backoff", "says goodbye and come back at once": "now", "is killed": "" })) {
  for (const down of [200, 1000, 2500]) {
    test(`a server that restarts ten times in a minute, ${name}, and is away for ${down} ms`, async () => {
      for (let seed = 1; seed <= 10; seed++) {
        const w = start({ seed: seed * 31 });
        const { clock, server, client } = w;
        await w.on("websocket");
        const from = clock.now();
        for (let i = 0; i < 10; i++) {
          w.publish(i);
          await clock.run(4000 + 2000 * clock.random());
          server.restart(down * (0.5 + clock.random()), bye ? { type: "bye", code: "draining", message: "", reconnect: bye, after_ms: 1000 * clock.random() } : undefined);
        }
        const n = w.network.count(from);
        assert.ok(n < 200, n + " requests in a minute");
        const last = clock.now();
        await clock.run(2 * down);
        await w.on("websocket");
        assert.ok(clock.now() - last <= 24e3, `seed ${seed}: a WebSocket only after ${clock.now() - last}`);
        const sse = w.states.filter((s) => s.transport == "sse");
        for (const s of sse) {
          const next = w.states.find((x) => x.at > s.at && x.transport != "sse");
          assert.ok(next && next.at - s.at < 6000, `seed ${seed}: on SSE from ${s.at}`);
        }
        await clock.run(4000);
        assert.deepEqual(w.got.map((m) => m.data), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert.equal(w.acks.length, 10);
        // It is none that is given up, either: the next one that breaks is replaced at once.
        for (const s of [...server.sockets]) s.kill(1006);
        await clock.run(1000);
        assert.equal(client.transport, "websocket");
        client.close();
      }
    });
  }
}

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

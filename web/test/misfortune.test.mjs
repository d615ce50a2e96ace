import assert from "node:assert/strict";
import test from "node:test";
import { html, start } from "./common.mjs";

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

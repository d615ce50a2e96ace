// What the browser says of the page and its network.
import assert from "node:assert/strict";
import test from "node:test";
import { page } from "./surroundings.mjs";
import { world } from "./world.mjs";

const ways = { websocket: ["ok", "good"], sse: ["refuse", "good"], poll: ["refuse", "held"] };

/** A client in a page of its own, connected over one transport for a while. */
async function opened(transport, o = {}) {
  const p = page();
  const [ws, stream] = ways[transport];
  const w = world(p.culvert, { ...o, setUp: ({ network }) => Object.assign(network, { ws, stream: () => stream }) });
  await w.on(transport);
  await w.clock.run(15e3 - 2000);
  assert.equal(w.client.transport, transport);
  return { ...p, ...w, w };
}

for (const transport of Object.keys(ways)) {
  test("a page that is shown again after its connection has died is up to date at once: " + transport, async () => {
    for (const [type, at] of [["visibilitychange", "document"], ["pageshow", "top"]]) {
      const p = await opened(transport);
      const { w } = p;
      p.document.hidden = true;
      p.happens("visibilitychange", p.document);
      w.network.freeze();
      for (let i = 0; i < 5; i++) w.server.publish({ room: "lobby", data: i });
      w.clock.ms += 600e3; // No timer runs in a page that sleeps.
      const woke = w.clock.now();
      const n = w.network.count();
      p.document.hidden = false;
      // Nothing but the event tells: timers of a page that wakes up may be late.
      for (const t of w.clock.timers.values()) t.at = Math.max(t.at, woke + 10e3);
      p.happens(type, p[at]);
      await w.clock.run(5000, () => w.got.length == 5);
      assert.ok(w.network.count() > n);
      assert.deepEqual(w.got.map((m) => m.data), [0, 1, 2, 3, 4], type);
      assert.ok(w.clock.now() - woke < 1500, type + ": up to date after " + (w.clock.now() - woke));
      await w.clock.run(30e3);
      assert.equal(w.got.length, 5);
      w.client.close();
    }
  });

  test("a page that is hidden asks for nothing: " + transport, async () => {
    const p = await opened(transport);
    const log = async () => {
      const from = p.w.network.count();
      await p.w.clock.run(1000);
      return p.w.network.log.slice(from);
    };
    await log();
    p.document.hidden = true;
    p.happens("visibilitychange", p.document);
    p.happens("offline");
    p.happens("online");
    assert.deepEqual(await log(), []);
    p.w.client.close();
  });

  test("offline is looked into, and online is tried at once: " + transport, async () => {
    const p = await opened(transport);
    const { w } = p;
    // Some systems say it of another interface: what works stays.
    const states = w.states.length;
    p.happens("offline");
    w.publish("still here");
    await w.clock.run(4000);
    assert.equal(w.got.length, 1);
    assert.ok(w.states.slice(states).every((s) => s.state == "connected" && s.transport == transport));
    w.network.on = false;
    w.network.freeze();
    const cut = w.clock.now();
    p.happens("offline");
    await w.clock.run(30e3, () => w.client.state == "waiting");
    // A stream cannot be asked: it is renewed when it has said nothing for 5 s.
    assert.ok(w.clock.now() - cut <= (transport == "sse" ? 20e3 : 2000), "told after " + (w.clock.now() - cut));
    await w.clock.run(120e3, () => w.client.state == "waiting" && w.states.at(-1).retryIn > 8000);
    w.publish("offline");
    w.network.on = true;
    const back = w.clock.now();
    p.happens("online");
    await w.clock.run(20e3, () => w.acks.length == 2);
    assert.ok(w.clock.now() - back < 500, "after " + (w.clock.now() - back));
    await w.clock.run(5000);
    assert.deepEqual(w.got.map((m) => m.data), ["still here", "offline"]);
    // Nothing is heard of by who is closed.
    const listeners = () => [p.top, p.document, p.connection].map((target) => target.listeners());
    assert.deepEqual(listeners(), [3, 1, 1]);
    w.client.close();
    assert.deepEqual(listeners(), [0, 0, 0]);
    const n = w.network.count();
    for (const type of ["online", "offline", "pageshow"]) p.happens(type);
    p.happens("visibilitychange", p.document);
    p.happens("change", p.connection);
    await w.clock.run(60e3);
    assert.equal(w.network.count(), n);
  });

  test("no event makes more than a request: " + transport, async () => {
    const p = await opened(transport);
    const { w } = p;
    const n = w.network.count();
    const states = w.states.length;
    for (let i = 0; i < 200; i++) {
      p.happens(["online", "offline", "pageshow"][i % 3]);
      p.happens("visibilitychange", p.document);
      await w.clock.run(5);
    }
    await w.clock.run(2000);
    assert.ok(w.states.slice(states).every((s) => s.state == "connected"));
    assert.ok(w.network.count() - n <= 420, w.network.count() - n + " requests");
    w.client.close();
  });
}

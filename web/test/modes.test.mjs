// A browser has one connection of HTTP/2 for all requests of a kind, and another one for those with, or without,
// credentials: what the client does where only the other kind still arrives.
import assert from "node:assert/strict";
import test from "node:test";
import { listens, load } from "./surroundings.mjs";
import { world } from "./world.mjs";

/** Whose page it is, and what the mode is called that is not its own. */
const pages = { "the server's": ["http://server.test", "omit"], "another origin's": ["https://pages.test", "include"] };
const paths = { sse: "good", poll: "held" };

function start(origin, transport, seed = 1, setUp = () => {}) {
  const { culvert } = load({ location: { href: origin + "/page", origin }, navigator: {}, ...listens() });
  return world(culvert, { seed, setUp: (w) => {
    Object.assign(w.network, { ws: "refuse", stream: () => paths[transport] });
    setUp(w);
  } });
}

/** Everything that is open is silent from now on, and so are new requests, but for those that are let through. */
function freeze(w, passes) {
  w.network.freeze();
  w.network.plain = (r) => (passes(r) ? null : "hang");
}

const since = (w, from) => w.network.log.filter((r) => r.at >= from && r.method).map((r) => r.credentials);

for (const [whose, [origin, mode]] of Object.entries(pages))
  for (const transport of Object.keys(paths)) {
    test(`only the other mode is answered, on ${whose} page, over ${transport}: under traffic`, async () => {
      for (const seed of [1, 2, 3, 4, 5]) {
        const w = start(origin, transport, seed);
        await w.on(transport);
        await w.clock.run(2000 + 40e3 * w.clock.random());
        assert.deepEqual(since(w, 0).filter((m) => m), [], "without need");
        freeze(w, (r) => r.credentials == mode);
        const from = w.clock.now();
        w.publish("own");
        w.clock.setTimeout(() => w.server.publish({ room: "lobby", data: 1 }), 100);
        await w.clock.run(60e3, () => w.got.length == 2 && w.acks.length);
        assert.ok(w.clock.now() - from <= 2900, "noticed after " + (w.clock.now() - from));
        // What follows goes that way at once.
        await w.on(transport);
        await w.clock.run(10e3);
        const later = w.clock.now();
        const acked = w.acks.length;
        w.publish("more");
        await w.clock.run(300);
        assert.equal(w.acks.length, acked + 1);
        await w.clock.run(60e3);
        assert.deepEqual([...new Set(since(w, later))], [mode]);
        assert.deepEqual(w.got.map((m) => m.offset), [1, 2, 3]);
      }
    });

    test(`only the other mode is answered, on ${whose} page, over ${transport}: idle`, async () => {
      for (const seed of [1, 2, 3, 4, 5]) {
        const w = start(origin, transport, seed);
        await w.on(transport);
        await w.clock.run(2000 + 40e3 * w.clock.random());
        freeze(w, (r) => r.credentials == mode);
        w.server.publish({ room: "lobby", data: 0 });
        const from = w.clock.now();
        await w.clock.run(60e3, () => w.got.length);
        assert.ok(w.clock.now() - from <= 19e3, "noticed after " + (w.clock.now() - from));
      }
    });
  }

const refusals = {
  "are refused by a gateway": () => ({ status: 403, body: '{"error":{"code":"forbidden","message":"who are you?"}}' }),
  "are answered with a page": () => ({ status: 200, body: "<form>" }),
  "are told to come back": () => ({ status: 429, headers: { "retry-after": "60" }, body: "<html>" }),
  "fail": () => "lost",
};

for (const [what, refuse] of Object.entries(refusals)) {
  test("a kept mode is left again where its requests " + what, async () => {
    for (const [origin, mode] of Object.values(pages)) {
      const w = start(origin, "poll");
      await w.on("poll");
      freeze(w, (r) => r.credentials == mode);
      w.publish(0);
      await w.clock.run(5000);
      assert.equal(w.acks.length, 1);
      // The dead connection has been given up, and something else begins.
      w.network.plain = (r) => (r.credentials ? refuse() : null);
      const from = w.clock.now();
      w.publish(1);
      await w.clock.run(90e3);
      assert.deepEqual(w.acks.map((a) => a.data), [0, 1]);
      assert.deepEqual(w.got.map((m) => m.data), [0, 1]);
      assert.ok(since(w, from).filter((m) => m).length <= 6, "tried on and on");
      const later = w.clock.now();
      await w.clock.run(30e3);
      assert.deepEqual([...new Set(since(w, later))], [undefined]);
    }
  });

  test("copies in the other mode do no harm where they " + what, async () => {
    for (const [origin] of Object.values(pages)) {
      const w = start(origin, "sse");
      await w.on("sse");
      // The server is slow, and nothing is dead.
      w.server.slow = 1500;
      w.network.plain = (r) => (r.credentials ? refuse() : "slow");
      for (let i = 0; i < 5; i++) {
        const from = w.clock.now();
        w.publish(i);
        await w.clock.run(20e3, () => w.acks.length > i);
        assert.ok(w.clock.now() - from < 1600, "published after " + (w.clock.now() - from));
        await w.clock.run(3000);
      }
      assert.deepEqual(w.got.map((m) => m.data), [0, 1, 2, 3, 4]);
      assert.ok(since(w, 0).some((m) => m), "there were some");
      assert.equal(w.client.state, "connected");
      assert.ok(w.states.every((s) => !s.error));
    }
  });
}

test("an error of the server's own keeps the mode", async () => {
  const [origin, mode] = pages["the server's"];
  const w = start(origin, "poll");
  await w.on("poll");
  freeze(w, (r) => r.credentials == mode);
  w.publish(0);
  await w.clock.run(5000);
  const page = w.client.room("lobby").history({ after: "x" });
  w.network.plain = (r) => (r.credentials != mode ? "hang" : r.path.endsWith("/history") ? { status: 400, body: '{"protocol":1,"error":{"code":"bad_cursor","message":"no"}}' } : null);
  const from = w.clock.now();
  const refused = assert.rejects(page, { code: "bad_cursor" });
  await w.clock.run(300);
  await refused;
  w.publish(1);
  await w.clock.run(300);
  assert.equal(w.acks.length, 2);
  assert.deepEqual([...new Set(since(w, from))], [mode]);
});

test("a token is not asked for again because a copy in the other mode is refused", async () => {
  for (const [origin] of Object.values(pages)) {
    let asked = 0;
    const { culvert } = load({ location: { href: origin, origin }, navigator: {}, ...listens() });
    const w = world(culvert, { room: "", options: { token: () => "t" + ++asked }, setUp: ({ network, server }) => {
      server.slow = 2000;
      network.plain = (r) => (r.credentials ? { status: 401, body: "<form>" } : "slow");
    } });
    w.client.publish("lobby", 0).then(() => w.acks.push(0));
    await w.clock.run(5000);
    assert.deepEqual([w.acks.length, asked], [1, 1]);
    assert.ok(since(w, 0).some((m) => m));
  }
});

test("where there is no page there are no modes", async () => {
  const { culvert } = load({});
  const w = world(culvert, { setUp: ({ network }) => (network.ws = "refuse") });
  await w.on("sse");
  freeze(w, () => false);
  w.publish(0);
  await w.clock.run(60e3);
  assert.ok(w.network.count() > 10);
  assert.deepEqual([...new Set(since(w, 0))], [undefined]);
});

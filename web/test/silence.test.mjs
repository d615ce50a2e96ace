import assert from "node:assert/strict";
import test from "node:test";
import { world } from "./world.mjs";

const culvert = await import("../dist/culvert.js");

const paths = {
  websocket: () => {},
  sse: (network) => (network.ws = "refuse"),
  poll: (network) => ((network.ws = "refuse"), (network.stream = () => "held")),
};

// The bars are 20 s and 3 s. What real connections take beyond the few round trips here has to fit in between.
for (const [transport, path] of Object.entries(paths)) {
  for (const dead of [0, 1, 2]) {
    for (const delay of [5, 100]) {
      const start = async (seed) => {
        const w = world(culvert, { seed, setUp: ({ network }) => ((network.delay = delay), path(network)) });
        await w.on(transport);
        await w.clock.run(2000 + 40e3 * w.clock.random());
        w.network.freeze(dead);
        return w;
      };

      test(`${transport} with ${2 * delay} ms falls silent, and ${dead} connections that the browser keeps: idle`, async () => {
        for (const seed of [1, 2, 3, 4, 5]) {
          const w = await start(seed);
          w.server.publish({ room: "lobby", data: 0 });
          const from = w.clock.now();
          await w.clock.run(60e3, () => w.got.length);
          assert.ok(w.clock.now() - from <= 19e3, "noticed after " + (w.clock.now() - from));
          await w.clock.run(60e3);
          assert.equal(w.got.length, 1);
        }
      });

      test(`${transport} with ${2 * delay} ms falls silent, and ${dead} connections that the browser keeps: under traffic`, async () => {
        for (const seed of [1, 2, 3, 4, 5]) {
          const w = await start(seed);
          const from = w.clock.now();
          w.publish("own");
          w.clock.setTimeout(() => w.server.publish({ room: "lobby", data: 1 }), 100);
          await w.clock.run(60e3, () => w.got.length == 2 && w.acks.length);
          assert.ok(w.clock.now() - from <= 2900, "noticed after " + (w.clock.now() - from));
          await w.clock.run(60e3);
          assert.deepEqual(w.got.map((m) => m.offset), [1, 2]);
          assert.equal(w.acks.length, 1);
        }
      });
    }
  }
}

test("a server that is slow to publish is no dead connection", async () => {
  for (const path of Object.values(paths)) {
    const w = world(culvert, { setUp: ({ network, server }) => {
      path(network);
      network.plain = (r) => (r.path == "/publish" ? "slow" : null);
      server.slow = 900;
    } });
    await w.ready();
    await w.clock.run(20e3);
    const changes = w.states.length;
    const from = w.clock.now();
    for (let i = 0; i < 10; i++) w.clock.setTimeout(() => w.publish(i), i * 1000);
    await w.clock.run(30e3);
    assert.equal(w.acks.length, 10);
    assert.equal(w.states.length, changes);
    assert.ok(w.network.count(from) < 60, w.network.count(from) + " requests");
  }
});

// The answer to the one before may have come just before the silence.
test("what falls silent between two publishes is noticed by the second", async () => {
  for (const [transport, path] of Object.entries(paths)) {
    for (const between of [100, 500, 900, 1100]) {
      const w = world(culvert, { setUp: ({ network }) => path(network) });
      await w.on(transport);
      await w.clock.run(5000);
      w.publish("one");
      await w.clock.run(between);
      assert.equal(w.got.length, 1);
      w.network.freeze(0);
      const from = w.clock.now();
      w.publish("two");
      await w.clock.run(60e3, () => w.got.length == 2);
      assert.ok(w.clock.now() - from <= 2900, `${transport}, ${between} ms: noticed after ${w.clock.now() - from}`);
    }
  }
});

// Rooms that the server refuses, beside others that go on.
import assert from "node:assert/strict";
import test from "node:test";
import { start } from "./common.mjs";

const ways = { websocket: ["ok", "good"], sse: ["refuse", "good"], poll: ["refuse", "held"] };
const range = (n, f = (i) => i) => Array.from({ length: n }, (_, i) => f(i));

/** A client that may use one way, or all while only one works. */
const on = (transport, only, o) => start({ ...o, options: only ? { transports: [transport] } : {}, setUp: (w) => {
  const [ws, stream] = ways[transport];
  Object.assign(w.network, { ws, stream: () => stream });
  if (o.setUp) o.setUp(w);
} });

/** What a room tells of its end. */
function watch(room) {
  const told = [];
  room.on("state", (e) => e.state == "failed" && told.push(e.error.code));
  const iterator = room[Symbol.asyncIterator]();
  const reading = iterator.next().then(() => "read", (e) => e.code);
  return { told, reading };
}

for (const transport of Object.keys(ways))
  for (const only of [false, true])
    for (const when of ["first", "beside", "later"])
      test(`a room that is refused ${when} ends alone: ${transport}${only ? " and nothing else" : ""}`, async () => {
        // One that has a place already is not asked for alone first.
        for (const [code, options] of [["forbidden", { from: "start" }], ["bad_cursor", { cursor: "0" }]]) {
          const w = on(transport, only, { room: "", setUp: ({ server }) => {
            server.refused = { bad: code };
            server.publish({ room: "good", data: 0 });
          } });
          const got = [];
          const open = (name) => w.client.room(name, name == "bad" ? options : { from: "start" });
          let bad = when == "first" && open("bad");
          const good = open("good");
          good.on("message", (m) => got.push(m.data));
          if (when == "later") await w.on(transport);
          bad = bad || open("bad");
          const { told, reading } = watch(bad);
          const before = w.states.length;
          await w.clock.run(10e3);
          assert.equal(await reading, code);
          // Whoever begins to read it now hears why, too.
          await assert.rejects(bad[Symbol.asyncIterator]().next(), { code });
          assert.deepEqual(told, [code]);
          // The others do not notice.
          if (when == "later") assert.ok(w.states.slice(before).every((s) => s.state == "connected" && s.transport == transport));
          const acks = [];
          good.publish(1).then((p) => acks.push(p.offset));
          await w.clock.run(5000);
          assert.deepEqual([got, acks, w.client.state, w.client.transport], [[0, 1], [2], "connected", transport]);
          // A room of that name is asked for anew, and may be let in now.
          w.server.refused = {};
          const again = [];
          open("bad").on("message", (m) => again.push(m.data));
          w.server.publish({ room: "bad", data: "in" });
          await w.clock.run(5000);
          assert.deepEqual(again, ["in"]);
          const n = w.network.count();
          await w.clock.run(60e3);
          assert.ok(w.network.count() - n < 20, "no loop");
          w.client.close();
        }
      });

for (const transport of Object.keys(ways))
  for (const most of [3, 100])
    test(`${most} rooms are allowed, and half as many more are opened, at once and later: ${transport}`, async () => {
      const more = Math.ceil(most / 2);
      const w = on(transport, false, { room: "", setUp: ({ server }) => (server.mostRooms = most) });
      const got = {};
      const ended = {};
      const open = (name) => {
        const room = w.client.room(name, { from: "start" });
        room.on("message", (m) => (got[name] = got[name] || []).push(m.data));
        room.on("state", (e) => e.error && (ended[name] = e.error.code));
        return room;
      };
      const rooms = range(most + more, (i) => open("r" + i));
      await w.on(transport);
      await w.clock.run(30e3);
      assert.deepEqual(ended, Object.fromEntries(range(more, (i) => ["r" + (most + i), "too_many_rooms"])), "the newest");
      assert.ok(w.network.count() < 3 * more + 20, w.network.count() + " requests");
      const states = w.states.length;
      open("late");
      await w.clock.run(5000);
      assert.equal(ended.late, "too_many_rooms");
      rooms[0].close();
      open("next");
      await w.clock.run(5000);
      assert.equal(ended.next, undefined);
      for (const name of ["r0", "r1", "next", "late"]) w.server.publish({ room: name, data: 1 });
      await w.clock.run(5000);
      assert.deepEqual(got, { r1: [1], next: [1] });
      assert.equal(w.states.length, states);
      assert.equal(w.client.state, "connected");
    });

test("a room asked for with what no server takes is refused at once, and the others hear nothing of it", async () => {
  for (const transport of Object.keys(ways)) {
    const w = on(transport, true, {});
    await w.on(transport);
    const n = w.network.count();
    for (const bad of [{ last: 1001 }, { last: -1 }, { last: 1.5 }, { last: NaN }, { last: "many" }, { from: "end" }])
      assert.throws(() => w.client.room("bad", bad), { code: "bad_parameter", final: true });
    for (const last of [0, 9, 99, 1000]) w.client.room("good" + last, { last, from: "start" }).close();
    assert.equal(w.network.count(), n);
    await w.clock.run(5000);
    assert.equal(w.client.state, "connected");
  }
});

test("a connection that the server ends for one of its rooms", async () => {
  const w = start();
  const { told } = watch(w.client.room("bad"));
  await w.on("websocket");
  for (const s of [...w.server.sockets]) {
    s.toClient({ type: "error", error: { code: "forbidden", message: "not any more", room: "bad" } });
    s.kill(4403, "forbidden: not any more");
  }
  w.server.publish({ room: "lobby", data: 1 });
  await w.clock.run(500);
  assert.deepEqual([told, w.got.map((m) => m.data), w.client.transport], [["forbidden"], [1], "websocket"]);
});

test("when every room is refused there is nothing to read, and publishing goes on", async () => {
  for (const transport of Object.keys(ways)) {
    const w = on(transport, false, { setUp: ({ server }) => (server.refused = { lobby: "forbidden" }) });
    const { told } = watch(w.room);
    await w.clock.run(10e3);
    assert.deepEqual([told, w.client.state], [["forbidden"], "idle"]);
    const n = w.network.count();
    await w.clock.run(600e3);
    assert.equal(w.network.count(), n);
    const acks = [];
    w.client.publish("other", 1).then((p) => acks.push(p.offset));
    await w.clock.run(5000);
    assert.deepEqual(acks, [1]);
  }
});

test("a refusal that comes late is not for the room that has the name now", async () => {
  for (const transport of Object.keys(ways))
    for (let pause = 0; pause <= 400; pause += 10) {
      const w = on(transport, false, { room: "", setUp: ({ server, network }) => ((server.refused = { bad: "bad_cursor" }), (network.delay = 40)) });
      w.client.room("good");
      const first = w.client.room("bad", { cursor: "0" });
      await w.clock.run(pause);
      first.close();
      w.server.refused = {};
      const second = w.client.room("bad", { from: "start" });
      const { told } = watch(second);
      const got = [];
      second.on("message", (m) => got.push(m.data));
      await w.clock.run(0);
      w.server.publish({ room: "bad", data: 1 });
      await w.clock.run(10e3);
      assert.deepEqual([told, got, w.client.state], [[], [1], "connected"], transport + ", after " + pause + " ms");
      w.client.close();
    }
});

test("rooms are refused and let in while everything changes, and the one beside them misses nothing", async () => {
  for (let seed = 1; seed <= 30; seed++) {
    const w = start({ seed });
    const { clock, network, server } = w;
    await w.ready();
    for (let i = 0; i < 300; i++) clock.setTimeout(() => server.publish({ room: "lobby", data: i }), i * 100);
    for (let at = 0; at < 30e3; at += 1500 * clock.random())
      clock.setTimeout(() => {
        const name = "r" + Math.floor(clock.random() * 4);
        const dice = clock.random();
        if (dice < 0.3) server.refused = clock.random() < 0.7 ? { [name]: "forbidden", r1: "bad_cursor" } : {};
        else if (dice < 0.8) w.client.room(name, { from: "start" });
        else if (dice < 0.9) w.client.room(name).close();
        else network.ws = network.ws == "ok" ? "refuse" : "ok";
        if (dice > 0.97) for (const s of [...server.sockets]) s.kill(1006);
      }, at);
    await clock.run(60e3);
    assert.deepEqual(w.got.map((m) => m.data), range(300), "seed " + seed);
    assert.equal(w.client.state, "connected");
    assert.ok(network.count() < 400, network.count() + " requests");
    w.client.close();
  }
});

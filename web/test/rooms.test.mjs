// What a page reads.
import assert from "node:assert/strict";
import test from "node:test";
import { start, traffic, whole } from "./common.mjs";

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

test("a message that is another one than the reader has at its place is a fork, and told", async () => {
  for (const ws of ["ok", "refuse"]) {
    const w = start({ setUp: ({ network }) => (network.ws = ws) });
    await w.on(ws == "ok" ? "websocket" : "sse");
    traffic(w, 5, 10);
    await w.clock.run(5000);
    // A failover lost the last message, and another one got its offset.
    const room = w.server.room("lobby");
    const other = { ...room.messages.pop(), id: "other", data: "instead" };
    room.messages.push(other);
    for (const read of [...room.readers]) read(other);
    await w.clock.run(5000);
    w.server.publish({ room: "lobby", data: "next" });
    await w.clock.run(5000);
    assert.deepEqual(w.gaps.map((g) => g.reason), ["fork"], ws);
    assert.deepEqual(w.got.map((m) => m.data), [0, 1, 2, 3, 4, "next"]);
  }
});

test("a room that the server cannot give yet is asked for again", async () => {
  const w = start();
  await w.on("websocket");
  let tries = 0;
  w.server.refusal = (rooms) => (rooms.includes("late") && tries++ < 3 ? { code: "behind", message: "", retry_after_ms: 700 } : undefined);
  const got = [];
  w.client.room("late", { from: "start" }).on("message", (m) => got.push(m.data));
  w.server.publish({ room: "late", data: 1 });
  await w.clock.run(2000);
  assert.deepEqual([got, tries], [[], 3]);
  await w.clock.run(200);
  assert.deepEqual(got, [1]);
  assert.equal(w.client.state, "connected");
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

test("a room that is added while a stream of several is open", async () => {
  for (const stream of ["good", "held"])
    for (const pause of [0, 150, 400, 5000]) {
      const w = start({ setUp: ({ network, server }) => {
        Object.assign(network, { ws: "refuse", stream: () => stream });
        for (const room of ["b", "late", "later"]) for (let i = 0; i < 3; i++) server.publish({ room, data: room + i });
      } });
      const got = { b: [], late: [], later: [] };
      const open = (name, options) => w.client.room(name, options).on("message", (m) => got[name].push(m.data));
      open("b", { last: 1 });
      const transport = stream == "good" ? "sse" : "poll";
      await w.on(transport);
      await w.clock.run(5000);
      const from = w.clock.now();
      traffic(w, 200, 50);
      for (let i = 3; i < 200; i++) for (const room of ["b", "late", "later"]) w.clock.setTimeout(() => w.server.publish({ room, data: room + i }), i * 50);
      await w.clock.run(1000);
      // The second one comes while the stream with the first is being opened, is not yet proven, or has taken over.
      open("late", { from: "start" });
      await w.clock.run(pause);
      open("later", { from: "start" });
      await w.clock.run(20e3);
      whole(w, 200);
      for (const [room, first] of [["b", 2], ["late", 0], ["later", 0]]) assert.deepEqual(got[room], Array.from({ length: 200 - first }, (_, i) => room + (i + first)), `${transport}, ${pause} ms`);
      assert.ok(w.states.every((s) => s.at < from || (s.state == "connected" && s.transport == transport)), "nobody is cut off for it");
      if (stream == "good") {
        assert.equal(w.server.streams.size, 1);
        assert.ok(w.network.count(from) < 12, w.network.count(from) + " requests");
      }
    }
});

test("an iterator that nobody reads is ended before it takes all memory", async () => {
  const w = start({ setUp: ({ server }) => (server.history = 1e5) });
  await w.on("websocket");
  const idle = w.room[Symbol.asyncIterator]();
  const read = [];
  const busy = (async () => {
    for await (const m of w.room) read.push(m.data);
  })();
  for (let i = 0; i < 10005; i++) {
    w.server.publish({ room: "lobby", data: i });
    if (i % 500 == 0) await w.clock.run(20);
  }
  await w.clock.run(1000);
  // What came before is there, in order; then the error, and then nothing.
  for (let i = 0; i < 10001; i++) assert.equal((await idle.next()).value.data, i);
  await assert.rejects(idle.next(), { code: "iterator_full" });
  // It is this iterator's: others go on, and so does the room.
  assert.equal(read.length, 10005);
  assert.equal(w.got.length, 10005);
  const other = w.room[Symbol.asyncIterator]();
  const next = other.next();
  w.server.publish({ room: "lobby", data: "next" });
  await w.clock.run(100);
  assert.equal((await next).value.data, "next");
  // One that is left stops listening.
  await other.return();
  assert.deepEqual(await other.next(), { done: true, value: undefined });
  w.room.close();
  await busy;
});

test("a cursor from before goes on", async () => {
  const w = start({ setUp: ({ server }) => [0, 1, 2].forEach((i) => server.publish({ room: "lobby", data: i })), roomOptions: { cursor: "lobby=0" } });
  await w.clock.run(1000);
  const cursor = w.room.cursor;
  w.client.close();
  const next = start({ setUp: ({ server }) => Object.assign(server, { rooms: w.server.rooms }), roomOptions: { cursor } });
  next.server.publish({ room: "lobby", data: 3 });
  await next.clock.run(1000);
  assert.deepEqual(next.got.map((m) => m.data), [3]);
  for (const cursor of ["nonsense", "", "x=nonsense", "x=e1.0.x", "x=e1.01.x"]) assert.throws(() => next.client.room("x", { cursor }), { code: "bad_cursor", final: true }, cursor);
  // The place of another room says nothing of this one.
  const seen = [];
  next.client.room("y", { cursor: "lobby=0", from: "start" }).on("message", (m) => seen.push(m.data));
  next.server.publish({ room: "y", data: 1 });
  await next.clock.run(1000);
  assert.deepEqual(seen, [1]);
  assert.throws(() => next.client.room("a b"), { code: "bad_room" });
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

test("a client that is closed by who hears of its state is closed", async () => {
  for (const [state, ws] of [["connecting", "ok"], ["connected", "ok"], ["connected", "swallow"], ["waiting", "ok"]]) {
    const w = start({ setUp: ({ network }) => Object.assign(network, { ws, on: state != "waiting" }) });
    w.client.on("state", (e) => e.state == state && w.client.close());
    await w.clock.run(30e3, () => w.client.state == "closed");
    const n = w.network.count();
    await w.clock.run(600);
    assert.equal(w.clock.timers.size, 0, state);
    w.network.on = true;
    await w.clock.run(60e3);
    assert.equal(w.network.count(), n, state);
    assert.equal(w.client.state, "closed");
  }
});

test("what is asked for when the client is closed is told so", async () => {
  const w = start({ setUp: ({ network }) => (network.plain = (r) => (/history|presence/.test(r.path) ? "hang" : null)) });
  await w.ready();
  const asked = [w.room.history(), w.room.presence()];
  await w.clock.run(100);
  w.client.close();
  for (const p of asked) await assert.rejects(p, { code: "closed", final: true });
});

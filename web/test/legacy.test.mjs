import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";
import vm from "node:vm";
import { Network } from "./network.mjs";
import { Server } from "./server.mjs";
import { Clock } from "./world.mjs";

/** A page of an old browser: no fetch, no Promise, no WebSocket. */
function page({ room = "lobby", options = {}, setUp = () => {} } = {}) {
  const clock = new Clock();
  const server = new Server(clock);
  const network = new Network(clock, server);
  class XMLHttpRequest {
    readyState = 0;
    status = 0;
    responseText = "";
    open(method, url) {
      Object.assign(this, { method, url });
    }
    setRequestHeader(name, value) {
      assert.deepEqual([name, value], ["Content-Type", "text/plain;charset=UTF-8"], "no header that needs a preflight");
    }
    getResponseHeader(name) {
      return this.headers ? this.headers.get(name) : null;
    }
    abort() {
      this.over = true;
    }
    send(body) {
      network.fetch(this.url, { method: this.method, body: body ?? undefined }).then(
        async (res) => this.done(res.status, await res.text(), res.headers),
        () => this.done(0, ""),
      );
    }
    done(status, text, headers) {
      if (this.over) return;
      Object.assign(this, { status, responseText: text, headers, readyState: 4 });
      this.onreadystatechange();
    }
  }
  class OldDate extends Date {
    constructor() {
      super(clock.date());
    }
  }
  const window = { XMLHttpRequest, setTimeout: clock.setTimeout, clearTimeout: clock.clearTimeout, Date: OldDate, Math: Object.assign(Object.create(Math), { random: clock.random }) };
  for (const name of ["random", "min", "max", "pow", "floor"]) if (name != "random") window.Math[name] = Math[name];
  window.window = window;
  vm.runInNewContext("Promise = undefined;" + readFileSync(new URL("../dist/culvert.legacy.js", import.meta.url)), window);
  const w = { clock, server, network, window, got: [], errors: [], acks: [] };
  setUp(w);
  w.room = window.culvert.connect("http://server.test").room(room, options);
  w.room.on("message", (m) => w.got.push(m.data));
  w.room.on("error", (e) => w.errors.push(e));
  w.publish = (data, key) => w.room.publish(data, (e, p) => w.acks.push(e ? e.code : p.offset), key);
  return w;
}

test("reads and publishes", async () => {
  const w = page({ options: { last: 1 }, setUp: ({ server }) => server.publish({ room: "lobby", data: "x" }) });
  for (let i = 0; i < 10; i++) w.clock.setTimeout(() => w.publish(i), i * 700);
  await w.clock.run(60e3);
  assert.deepEqual(w.got, ["x", 0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  assert.deepEqual(w.acks, [2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
  const n = w.network.count();
  await w.clock.run(600e3);
  assert.ok(w.network.count() - n <= 40, "an idle page polls every 20 s");
  assert.match(w.room.cursor(), /^lobby=/);
  w.room.close();
});

test("lost answers and doubled requests", async () => {
  const w = page({ setUp: ({ clock, network }) => (network.plain = () => (clock.random() < 0.3 ? "lost" : clock.random() < 0.3 ? "twice" : null)) });
  for (let i = 0; i < 30; i++) w.clock.setTimeout(() => w.publish(i), 1000 + i * 300);
  await w.clock.run(600e3);
  const all = w.server.room("lobby").messages.map((m) => m.data);
  assert.deepEqual(all, Array.from({ length: 30 }, (_, i) => i));
  assert.deepEqual(w.got, all.slice(all.length - w.got.length));
  assert.equal(w.acks.length, 30);
});

test("captive portals, Retry-After, and refusals", async () => {
  const w = page({ setUp: ({ network }) => (network.plain = () => ({ status: 200, body: "<html>" })) });
  w.publish("a");
  await w.clock.run(60e3);
  assert.ok(w.network.count() <= 60, w.network.count() + " requests in a minute");
  assert.equal(w.errors[0].code, "bad_answer");
  w.network.plain = () => ({ status: 503, headers: { "retry-after": "30" }, body: "{}" });
  await w.clock.run(25e3);
  const from = w.clock.now();
  await w.clock.run(25e3);
  assert.ok(w.network.count(from + 1) <= 2);
  w.network.plain = () => ({ status: 403, body: '{"error":{"code":"forbidden","message":"a gateway\'s"}}' });
  await w.clock.run(60e3);
  assert.equal(w.errors.at(-1).code, "bad_answer");
  w.network.plain = () => null;
  await w.clock.run(60e3);
  assert.deepEqual(w.acks, [1]);
  w.publish("a", "k");
  w.publish("b", "k");
  w.publish("c");
  await w.clock.run(60e3);
  assert.deepEqual(w.acks, [1, 2, "key_conflict", 3]);
  w.network.plain = () => ({ status: 400, body: '{"protocol":1,"error":{"code":"bad_room","message":"x"}}' });
  await w.clock.run(30e3);
  const n = w.network.count();
  await w.clock.run(60e3);
  assert.equal(w.network.count(), n, "what is final is not tried again");
});

// What is on the way has no JSON.
for (const [name, after, least, most] of [
  ["of 30 seconds", () => "30", 30e3, 51e3],
  ["that is a date", (w) => new Date(w.clock.date() + 40e3).toUTCString(), 38e3, 61e3],
  ["of years", () => "99999999", 299e3, 321e3],
  ["of yesterday", (w) => new Date(w.clock.date() - 864e5).toUTCString(), 0, 21e3],
  ["that is nonsense", () => "soon", 0, 21e3],
  ["that is negative", () => "-5", 0, 21e3],
]) {
  for (const body of ["<html>", '{"error":{"code":"draining"}}']) {
    test(`a Retry-After ${name}, with ${body}`, async () => {
      const w = page({ setUp: (w) => (w.network.plain = () => ({ status: 503, headers: { "retry-after": after(w) }, body })) });
      await w.clock.run(1000, () => w.errors.length);
      const from = w.clock.now();
      w.network.plain = () => null;
      await w.clock.run(400e3, () => w.network.count(from + 1));
      const waited = w.clock.now() - from;
      assert.ok(waited >= least && waited <= most, "waited " + waited);
    });
  }
}

test("a wait of years that an answer's JSON asks for", async () => {
  const body = '{"protocol":1,"error":{"code":"store_unavailable","retry_after_ms":1e12}}';
  const w = page({ setUp: ({ network }) => (network.plain = () => ({ status: 503, body })) });
  await w.clock.run(1000, () => w.errors.length);
  const from = w.clock.now();
  w.network.plain = () => null;
  await w.clock.run(400e3, () => w.network.count(from + 1));
  assert.equal(w.clock.now() - from, 300e3);
});

test("a listener that throws loses nothing of the answer", async () => {
  const w = page({ options: { from: "start" }, setUp: ({ server }) => [0, 1, 2].forEach((i) => server.publish({ room: "lobby", data: i })) });
  const thrown = [];
  const after = [];
  const later = w.window.setTimeout;
  w.window.setTimeout = (f, ms) => (ms ? later(f, ms) : later(() => {
    try {
      f();
    } catch (e) {
      thrown.push(e.message);
    }
  }));
  w.room.on("message", (m) => {
    if (m.data == 1) throw new Error("of the page");
  });
  w.room.on("message", (m) => after.push(m.data));
  w.room.publish(3, () => {
    throw new Error("of the answer");
  });
  w.publish(4);
  await w.clock.run(20e3);
  assert.deepEqual(w.got, [0, 1, 2, 3, 4]);
  assert.deepEqual(after, [0, 1, 2, 3, 4]);
  assert.deepEqual(w.acks, [5]);
  assert.deepEqual(thrown.sort(), ["of the answer", "of the page"]);
});

test("what is not JSON is refused, and blocks nothing", async () => {
  const w = page();
  const circle = {};
  circle.circle = circle;
  for (const data of [undefined, () => {}, circle]) assert.equal(w.publish(data), false);
  assert.equal(w.publish(null), true);
  await w.clock.run(20e3);
  assert.deepEqual(w.acks, [1]);
  assert.deepEqual(w.network.log.filter((r) => !r.path.endsWith("/poll")).map((r) => r.method), ["POST"]);
});

test("a gateway's JSON with an id is no answer to a publish", async () => {
  const w = page();
  w.network.plain = (r) => (r.method == "POST" ? { status: 200, body: '{"id":"req-1","message":"who are you?"}' } : null);
  w.publish("a");
  await w.clock.run(10e3);
  assert.deepEqual(w.acks, []);
  w.network.plain = () => null;
  await w.clock.run(60e3, () => w.acks.length);
  assert.deepEqual(w.acks, [1]);
});

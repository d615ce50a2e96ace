// Tokens are for a gateway in front of the server, which answers 401 where one is missing or has expired.
import assert from "node:assert/strict";
import test from "node:test";
import { start } from "./common.mjs";

const options = { websocket: ["websocket"], sse: ["sse"], poll: ["poll"], all: undefined };

for (const [name, transports] of Object.entries(options)) {
  test("a token is asked for again when the old one has expired: " + name, async () => {
    let asked = 0;
    const w = start({ options: { transports, token: async () => "t" + ++asked }, setUp: ({ server }) => (server.token = "t1") });
    await w.ready();
    await w.clock.run(5000);
    assert.equal(asked, 1);
    w.server.token = "t2";
    w.server.restart(0);
    await w.clock.run(60e3);
    assert.equal(w.client.state, "connected");
    assert.equal(asked, 2);
    w.publish(1);
    await w.clock.run(1000);
    assert.equal(w.got.length, 1);
  });
}

test("a stream that is renewed with a token that has expired asks for another one", async () => {
  let asked = 0;
  const w = start({ options: { transports: ["sse"], token: () => "t" + ++asked }, setUp: ({ server }) => (server.token = "t1") });
  await w.on("sse");
  w.server.token = "t2";
  const from = w.clock.now();
  w.client.room("other", { cursor: "0" });
  await w.clock.run(3000);
  assert.equal(asked, 2);
  assert.deepEqual(w.states.filter((s) => s.at > from), []);
});

test("copies of a request, and other requests, ask for one token together", async () => {
  let asked = 0;
  let slow = true;
  const w = start({ room: "", options: { token: () => new Promise((done) => w.clock.setTimeout(() => done("t" + ++asked), 100)) }, setUp: ({ server, network }) => {
    server.token = "t1";
    server.slow = 1500;
    network.plain = () => (slow ? "slow" : null);
  } });
  const room = w.client.room("lobby");
  await w.ready();
  const before = asked;
  w.server.token = "t2";
  // The first page takes so long that a copy is sent; both are answered 401, and so is the request for who is here.
  const pages = [room.history(), room.presence()];
  await w.clock.run(1700, () => asked > before);
  slow = false;
  await w.clock.run(10e3);
  await Promise.all(pages);
  assert.ok(w.network.count(0, "/history") > 2);
  assert.equal(asked, before + 1);
});

test("a token that no other one replaces: the state is true, and nobody is asked in a loop", async () => {
  for (const transports of [["websocket"], ["sse"], ["poll"], undefined]) {
    let asked = 0;
    const w = start({ options: { transports, token: () => "bad" + ++asked }, setUp: ({ server }) => (server.token = "good") });
    await w.clock.run(60e3);
    assert.match(w.client.state, /waiting|connecting/);
    assert.ok(asked <= 40, asked + " tokens in a minute");
    assert.ok(w.network.count() <= 80, w.network.count() + " requests in a minute");
  }
});

test("a token function that fails is an error of the page's, and asked again later", async () => {
  const no = () => {
    throw new Error("no");
  };
  for (const failing of [no, async () => no()]) {
    let token = failing;
    const w = start({ options: { token: () => token() }, setUp: ({ server }) => (server.token = "t") });
    await w.clock.run(30e3);
    assert.equal(w.states.findLast((s) => s.error).error.code, "token_failed");
    token = () => "t";
    await w.clock.run(25e3);
    assert.equal(w.client.state, "connected");
  }
});

test("a token that never comes is asked for again", async () => {
  for (const transports of Object.values(options)) {
    let asked = 0;
    const w = start({ options: { transports, token: () => (++asked == 1 ? new Promise(() => {}) : "t") }, setUp: ({ server }) => (server.token = "t") });
    await w.ready();
    assert.deepEqual([w.client.state, asked], ["connected", 2]);
    assert.ok(w.clock.now() < 40e3, "after " + w.clock.now() + " ms");
    await w.clock.run(60e3);
    assert.equal(asked, 2);
  }
});

test("without a token, or with one that is fixed, a 401 is not final", async () => {
  for (const token of [undefined, "old"]) {
    const w = start({ options: { token }, setUp: ({ server }) => (server.token = "new") });
    await w.clock.run(30e3);
    assert.match(w.client.state, /waiting|connecting/);
    w.server.token = token || null;
    await w.clock.run(25e3);
    assert.equal(w.client.state, "connected");
  }
});

// What the server says of a WebSocket's frames is not said of the client.
import assert from "node:assert/strict";
import test from "node:test";
import { start, whole } from "./common.mjs";

test("a path that spoils frames after a while ends the WebSocket, and not the client", async () => {
  for (const [close, code] of [[1002, "bad_frame"], [1003, "binary_frame"], [1007, "bad_utf8"], [1009, "frame_too_large"]]) {
    const w = start();
    await w.on("websocket");
    w.publish(0);
    w.publish(1);
    for (const s of [...w.server.sockets]) s.bye(close, code);
    w.network.ws = "refuse";
    w.publish(2);
    await w.clock.run(10e3);
    assert.deepEqual([w.client.state, w.client.transport], ["connected", "sse"], code);
    whole(w, 3);
    assert.deepEqual([w.acks.length, w.errors], [3, []]);
    assert.ok(!w.states.some((s) => s.state == "failed"));
  }
});

test("a goodbye that is for ever, and says so by its close code, is", async () => {
  const w = start();
  await w.on("websocket");
  for (const s of [...w.server.sockets]) s.bye(4403, "origin_not_allowed");
  await w.clock.run(5000);
  assert.deepEqual([w.client.state, w.states.at(-1).error.code], ["failed", "origin_not_allowed"]);
});

test("a message that is too large for a frame is refused alone, and batches that are, are split", async () => {
  for (const transports of [["websocket"], undefined]) {
    const w = start({ options: { transports }, setUp: ({ server }) => (server.mostFrame = 20e3) });
    await w.on("websocket");
    const others = Array.from({ length: 40 }, (_, i) => i);
    for (const i of others) {
      w.publish(i);
      if (i == 20) w.publish("x".repeat(30e3));
      // Together they are more than a frame takes.
      w.room.publish(null, { ephemeral: true });
      w.client.publish("other", "y".repeat(1500));
    }
    await w.clock.run(120e3);
    // Plain requests may be larger.
    assert.deepEqual(w.errors.map((e) => [e.data.length, e.e.code]), transports ? [[30e3, "frame_too_large"]] : []);
    const numbers = (list) => list.map((m) => m.data).filter((data) => data >= 0 && data !== null);
    assert.deepEqual(numbers(w.acks), others);
    assert.deepEqual(numbers(w.got), others);
    assert.equal(w.server.room("other").messages.length, 40);
    assert.equal(w.client.state, "connected");
  }
});

test("the size of a message is that of its bytes", async () => {
  const w = start();
  await w.on("websocket");
  const n = w.states.length;
  w.publish("\u8a9e".repeat(400e3));
  w.publish(0);
  await w.clock.run(1000);
  assert.deepEqual(w.errors.map((e) => e.e.code), ["message_too_large"]);
  whole(w, 1);
  assert.equal(w.states.length, n);
});

// What diagnose() says, and that it disturbs nothing and is disturbed by nothing.
import assert from "node:assert/strict";
import test from "node:test";
import { html, start, traffic, whole } from "./common.mjs";

/** The report, and what was found by the names of the tests. */
async function diagnose(w) {
  let report;
  const heard = [];
  w.client.diagnose((f) => heard.push(f)).then((r) => (report = r));
  await w.clock.run(120e3, () => report);
  assert.deepEqual(report.findings, heard);
  return { report, results: Object.fromEntries(heard.map((f) => [f.test, f.result])) };
}

test("diagnose says what the path does", async () => {
  const w = start({ setUp: ({ network }) => ((network.ws = "dead"), (network.stream = (m) => (m == "GET" ? "held" : "good"))) });
  await w.ready();
  const { report, results } = await diagnose(w);
  assert.deepEqual(results, {
    "plain request": "good",
    "WebSocket, 16 KiB": "no answer in time",
    "stream GET text/event-stream": "held",
    "stream POST text/event-stream": "good",
    "stream POST text/plain": "good",
    "stream POST text/plain padded": "good",
    "poll of 20 s": "good",
  });
  assert.deepEqual(report.findings.map((f) => f.ok), [true, false, false, true, true, true, true]);
  assert.deepEqual(JSON.parse(report.text).findings, report.findings);
  assert.equal(report.transport, "sse");
  assert.ok(report.learned["bad websocket"]);
});

test("diagnose in rooms with much traffic, and on every transport", async () => {
  for (const transport of ["websocket", "sse", "poll"]) {
    const w = start({ options: { transports: [transport] } });
    await w.on(transport);
    traffic(w, 400, 100);
    const states = w.states.length;
    const { report, results } = await diagnose(w);
    for (const [name, result] of Object.entries(results)) assert.equal(result, "good", name);
    const waited = report.findings.at(-1).ms;
    assert.ok(waited >= 20e3 && waited < 20.1e3, waited + " ms");
    await w.clock.run(45e3);
    whole(w, 400);
    assert.equal(w.states.length, states);
    assert.equal(w.server.rooms.size, 2);
    assert.equal([...w.server.rooms.values()].find((r) => r.name != "lobby").readers.size, 0);
  }
});

test("diagnose without a room makes none, and knows the server's clock", async () => {
  const w = start({ room: "" });
  w.server.clock = Object.create(w.clock, { date: { value: () => w.clock.date() + 90e3 } });
  const { report } = await diagnose(w);
  assert.equal(report.clock, 90e3);
  assert.equal(report.rtt, 20);
  assert.deepEqual([w.client.state, w.states.length], ["idle", 0]);
});

test("diagnose on a path that fails changes nothing of how rooms are read", async () => {
  const w = start({ options: { transports: ["poll"] } });
  await w.on("poll");
  w.network.plain = (r) => (r.path.includes("doctor") ? { status: 200, body: html } : null);
  const { results } = await diagnose(w);
  assert.equal(results["plain request"], "not Culvert's answer");
  assert.equal(results["poll of 20 s"], "not Culvert's answer");
  await w.clock.run(30e3);
  const methods = new Set(w.network.log.filter((r) => r.path == "/rooms/lobby/poll").map((r) => r.method));
  assert.deepEqual([...methods], ["GET"]);
});

test("another program's JSON is not Culvert's", async () => {
  const w = start({ room: "", setUp: ({ network }) => (network.plain = () => ({ status: 200, body: '{"ok":true}' })) });
  const { report } = await diagnose(w);
  assert.ok(report.findings.every((f) => f.ok == f.test.startsWith("WebSocket")), report.text);
});

test("a poll that something answers too soon is not good", async () => {
  const w = start({ room: "", setUp: ({ network }) => (network.plain = (r) => (r.path.endsWith("/poll") && r.query.get("wait") != "0" ? { status: 200, body: '{"protocol":1,"messages":[],"cursor":"x=0"}' } : null)) });
  const { results } = await diagnose(w);
  assert.equal(results["poll of 20 s"], "not Culvert's answer");
});

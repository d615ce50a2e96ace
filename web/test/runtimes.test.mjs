import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import test from "node:test";
import vm from "node:vm";
import { world } from "./world.mjs";

const script = fs.readFileSync(new URL("../dist/culvert.global.js", import.meta.url), "utf8");

/** The classic script in surroundings that have the language, what is given here, and nothing of Node's. */
function load(surroundings) {
  const context = vm.createContext({ AbortController, URL, TextDecoder, setTimeout, clearTimeout, performance, ...surroundings });
  vm.runInContext("globalThis.self = globalThis", context);
  vm.runInContext(script, context);
  return { culvert: context.culvert, context };
}

const listens = () => {
  const target = new EventTarget();
  return { addEventListener: target.addEventListener.bind(target), removeEventListener: target.removeEventListener.bind(target), dispatchEvent: target.dispatchEvent.bind(target) };
};
const location = { href: "https://pages.test/a/b?c", origin: "https://pages.test" };
const blocked = { get localStorage() { throw new Error("SecurityError"); } };

for (const [name, make] of Object.entries({
  "a runtime like Deno": () => ({ navigator: { hardwareConcurrency: 2 }, addEventListener() {} }),
  "a runtime with nothing but fetch": () => ({}),
  "a worker": () => ({ location, navigator: {}, ...listens() }),
  "a page": () => ({ location, navigator: { connection: listens() }, document: { hidden: false, ...listens() }, localStorage: { getItem: () => null, setItem() {} }, ...listens() }),
  "a page whose storage is blocked": () => Object.create(blocked, Object.getOwnPropertyDescriptors({ location, navigator: {}, document: listens(), ...listens() })),
})) {
  test(name, async () => {
    const { culvert, context } = load(make());
    for (const ws of ["ok", "refuse"]) {
      const w = world(culvert, { options: { storage: undefined }, setUp: ({ network }) => (network.ws = ws) });
      await w.ready();
      await w.clock.run(5000);
      assert.equal(w.client.transport, ws == "ok" ? "websocket" : "sse");
      w.publish({ n: 1 });
      await w.clock.run(1000);
      assert.equal(w.got.length, 1);
      assert.equal(w.acks.length, 1);
      assert.throws(() => w.client.room("a b"), context.culvert.CulvertError);
      w.client.close();
      const n = w.network.count();
      await w.clock.run(600e3);
      assert.equal(w.network.count(), n);
    }
  });
}

test("a runtime without WebSocket", async () => {
  const { culvert } = load({});
  const w = world(culvert, { options: { WebSocket: undefined } });
  await w.on("sse");
  assert.equal(w.client.transport, "sse");
  assert.match(w.client.reason, /WebSocket is not a constructor/);
  const only = world(culvert, { options: { WebSocket: undefined, transports: ["websocket"] } });
  await only.clock.run(60e3);
  assert.match(only.client.state, /waiting|connecting/);
  assert.ok(only.states.length <= 40, only.states.length + " changes of state in a minute");
});

test("what a page types is no change of the network, and what its connection does is", async () => {
  const connection = listens();
  const document = { hidden: true, ...listens() };
  const top = listens();
  const { culvert } = load({ location, navigator: { connection }, document, ...top });
  const w = world(culvert, { setUp: ({ network }) => (network.ws = "refuse") });
  await w.on("sse");
  await w.clock.run(8000);
  const n = w.network.count();
  for (const target of [document, top]) target.dispatchEvent(new Event("change"));
  connection.dispatchEvent(new Event("change"));
  await w.clock.run(2000);
  assert.equal(w.network.count(), n, "the page is hidden, and nothing of this is for it");
  document.hidden = false;
  for (const target of [document, top]) target.dispatchEvent(new Event("change"));
  await w.clock.run(1000);
  assert.equal(w.network.count(), n);
  connection.dispatchEvent(new Event("change"));
  await w.clock.run(1000);
  assert.notEqual(w.network.count(), n);
  w.client.close();
});

test("addresses are found from the page's", () => {
  const { culvert } = load({ location, navigator: {}, ...listens() });
  const urls = [];
  for (const url of ["/", "https://other.test/under/", "//third.test"]) {
    const client = culvert.connect(url, { storage: null, WebSocket: class { constructor(u) { urls.push(u.split("?")[0]); } close() {} }, fetch: () => new Promise(() => {}) });
    client.room("r");
    setTimeout(() => client.close(), 20);
  }
  return new Promise((done) => setTimeout(done, 30)).then(() => assert.deepEqual(urls, ["wss://pages.test/rooms/r/ws", "wss://other.test/under/rooms/r/ws", "wss://third.test/rooms/r/ws"]));
});

test("npm pack has what is published, and nothing else", () => {
  const [pack] = JSON.parse(execFileSync("npm", ["pack", "--dry-run", "--json"], { cwd: new URL("..", import.meta.url), encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }));
  const dist = fs.readdirSync(new URL("../dist", import.meta.url)).map((name) => "dist/" + name);
  assert.deepEqual(pack.files.map((f) => f.path).sort(), ["README.md", "package.json", ...dist].sort());
  const { main, types, unpkg, exports } = JSON.parse(fs.readFileSync(new URL("../package.json", import.meta.url)));
  const named = [main, types, unpkg, ...Object.values(exports).flatMap((e) => (typeof e == "string" ? [e] : Object.values(e)))];
  for (const file of named) assert.ok(pack.files.some((f) => "./" + f.path == file), file);
});

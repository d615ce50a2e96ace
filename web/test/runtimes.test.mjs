import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import test from "node:test";
import { listens, load, location, page } from "./surroundings.mjs";
import { world } from "./world.mjs";

/** Reading the property is what throws; it is counted. */
const blocked = () => {
  const times = { read: 0 };
  const given = { location, navigator: {}, document: listens(), ...listens() };
  Object.defineProperty(given, "localStorage", { get() { times.read++; throw new Error("SecurityError"); } });
  return { given, times };
};

for (const [name, make] of Object.entries({
  "a runtime like Deno": () => ({ navigator: { hardwareConcurrency: 2 }, addEventListener() {} }),
  "a runtime with nothing but fetch": () => ({}),
  "a worker": () => ({ location, navigator: {}, ...listens() }),
  "a page": () => ({ location, navigator: { connection: listens() }, document: { hidden: false, ...listens() }, localStorage: { getItem: () => null, setItem() {} }, ...listens() }),
  "a page whose storage is blocked": () => blocked().given,
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
  assert.match(w.client.reason, /^no WebSocket$/);
  const only = world(culvert, { options: { WebSocket: undefined, transports: ["websocket"] } });
  await only.clock.run(60e3);
  assert.match(only.client.state, /waiting|connecting/);
  assert.ok(only.states.length <= 40, only.states.length + " changes of state in a minute");
});

test("what a page types is no change of the network, and what its connection does is", async () => {
  const { connection, culvert, document, top } = page();
  document.hidden = true;
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

test("storage is looked for where there is a page, and done without where it is blocked", async () => {
  const { given, times } = blocked();
  const { culvert } = load(given);
  const w = world(culvert, { options: { storage: undefined } });
  await w.on("websocket");
  assert.equal(times.read, 1);
  // Node has a property of that name that warns; it is not for this.
  let reads = 0;
  const v = world(load({ get localStorage() { return reads++, null; } }).culvert, { options: { storage: undefined } });
  await v.on("websocket");
  assert.equal(reads, 0);
  const items = new Map();
  const kept = load({ location, navigator: {}, document: listens(), ...listens(), localStorage: { getItem: (key) => items.get(key) ?? null, setItem: (key, text) => items.set(key, text) } });
  const x = world(kept.culvert, { options: { storage: undefined }, setUp: ({ network }) => (network.ws = "refuse") });
  await x.on("sse");
  await x.clock.run(5000);
  assert.match(items.get("culvert http://server.test"), /bad websocket/);
});

test("addresses are found from the page's", () => {
  const { culvert } = load({ location, navigator: {}, ...listens() });
  const urls = [];
  for (const url of ["", "/", "https://other.test/under/", "//third.test", "wss://fourth.test"]) {
    const client = culvert.connect(url, { storage: null, WebSocket: class { constructor(u) { urls.push(u.split("?")[0]); } close() {} }, fetch: () => new Promise(() => {}) });
    client.room("r");
    setTimeout(() => client.close(), 20);
  }
  return new Promise((done) => setTimeout(done, 30)).then(() => assert.deepEqual(urls, ["wss://pages.test/rooms/r/ws", "wss://pages.test/rooms/r/ws", "wss://other.test/under/rooms/r/ws", "wss://third.test/rooms/r/ws", "wss://fourth.test/rooms/r/ws"]));
});

test("what is no address of a server is refused", () => {
  const { culvert } = load({ location, navigator: {}, ...listens() });
  const outside = load({ navigator: {} }).culvert; // where nothing can be relative
  for (const [here, url] of [[culvert, "example.org:8080"], [culvert, "http://"], [culvert, "file:///tmp"], [outside, "nonsense"], [outside, ""]])
    assert.throws(() => here.connect(url), { name: "CulvertError", code: "bad_url", final: true }, url);
});

test("npm pack has what is published, and nothing else", () => {
  const [pack] = JSON.parse(execFileSync("npm", ["pack", "--dry-run", "--json"], { cwd: new URL("..", import.meta.url), encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }));
  const dist = fs.readdirSync(new URL("../dist", import.meta.url)).map((name) => "dist/" + name);
  assert.deepEqual(pack.files.map((f) => f.path).sort(), ["LICENSE", "README.md", "package.json", ...dist].sort());
  const { main, types, unpkg, exports } = JSON.parse(fs.readFileSync(new URL("../package.json", import.meta.url)));
  const named = [main, types, unpkg, ...Object.values(exports).flatMap((e) => (typeof e == "string" ? [e] : Object.values(e)))];
  for (const file of named) assert.ok(pack.files.some((f) => "./" + f.path == file), file);
});

test("the package is imported by its name", () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "culvert-"));
  try {
    const options = { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] };
    const packed = execFileSync("npm", ["pack", "--silent", "--pack-destination", folder], { ...options, cwd: new URL("..", import.meta.url) }).trim();
    const to = path.join(folder, "node_modules", "culvert");
    fs.mkdirSync(to, { recursive: true });
    execFileSync("tar", ["xzf", path.join(folder, packed), "--strip-components=1", "-C", to], options);
    const code = 'import { connect, CulvertError } from "culvert"; const c = connect("http://localhost:9"); console.log(c.state, typeof CulvertError); c.close();';
    assert.equal(execFileSync(process.execPath, ["--input-type=module", "-e", code], { ...options, cwd: folder }), "idle function\n");
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
});

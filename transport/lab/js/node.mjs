// Runs one task in Node: the task and the client's file are arguments, a line on
// standard input lets it go on, lines on standard output tell the lab.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";
import { run } from "./run.mjs";

const [file, text] = process.argv.slice(2);
const task = JSON.parse(text);
const say = (o) => process.stdout.write(JSON.stringify(o) + "\n");
for (const name of ["unhandledRejection", "uncaughtException"])
  process.on(name, (e) => say({ what: "fault", text: `${name}: ${e && e.stack || e}` }));
let from = "of Node's own";
const sockets = [];
try {
  globalThis.WebSocket = class extends createRequire(import.meta.url)("ws") {
    constructor(...a) {
      super(...a);
      sockets.push(this);
    }
  };
  from = "npm ws";
} catch { /* Node's own, where there is one */ }
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const go = async (what) => { say({ what: "ready", for: what }); await lines.next(); };
const { connect } = await import(pathToFileURL(file).href);
const report = await run(connect, task, go, say);
report.webSocket = from;
say({ what: "report", report });
process.stdin.destroy();
// A client that was closed leaves no timers. Sockets may stay for a while: a
// WebSocket waits for the other side's close frame (npm ws with a timer of its
// own), fetch keeps connections.
setTimeout(() => {
  const kept = process.getActiveResourcesInfo();
  if (kept.includes("Timeout") && !sockets.some((s) => s.readyState == s.CLOSING)) say({ what: "fault", text: `after close() timers keep Node running: ${kept}` });
  process.exit(0);
}, 3000).unref();

// What the tests have in common.
import assert from "node:assert/strict";
import { world } from "./world.mjs";

// The built file, as pages get it.
const culvert = await import("../dist/culvert.js");
export const start = (o) => world(culvert, o);

/** Messages 0..n-1 came, once each and in order. */
export function whole(w, n, what = "") {
  assert.deepEqual(w.got.map((m) => m.data), Array.from({ length: n }, (_, i) => i), what);
}

/** Messages that others publish, one every so many milliseconds. */
export function traffic(w, n, every, first = 0) {
  for (let i = 0; i < n; i++) w.clock.setTimeout(() => w.server.publish({ room: "lobby", data: first + i }), i * every);
}

export const html = "<!doctype html><title>Welcome</title>";

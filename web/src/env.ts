import type { Options } from "./api";

/** What the client needs of its surroundings. Nothing here assumes a window. */
export interface Env extends NonNullable<Options["clock"]> {
  fetch: typeof fetch;
  WebSocket: any;
  storage: NonNullable<Options["storage"]> | null;
}

declare const location: { href: string; origin: string } | undefined;
declare const navigator: any;

const page = typeof location == "object" && location ? location : null;

/** The page's own address, "" where there is no page. */
export const pageURL = page ? page.href : "";
export const pageOrigin = page ? page.origin : "";

export function environment(o: Options): Env {
  let storage = o.storage;
  if (storage === undefined) {
    try {
      // Reading the property throws where storage is blocked. Node has it, but not for this.
      if (page) storage = localStorage;
    } catch (e) {}
  }
  const clock = {
    setTimeout: (fn: () => void, ms: number) => setTimeout(fn, ms),
    clearTimeout: (id: any) => clearTimeout(id),
    now: () => performance.now(),
    date: Date.now,
    random: Math.random,
  };
  return Object.assign({}, o.clock || clock, {
    // Called without a receiver, as browsers want it.
    fetch: o.fetch || ((input, init) => fetch(input, init)),
    WebSocket: o.WebSocket || (typeof WebSocket == "function" ? WebSocket : null),
    storage: storage || null,
  });
}

/** Enough letters and digits that nobody else has them. */
export const unique = (env: Env) => env.random().toString(36).slice(2) + env.random().toString(36).slice(2);

/**
 * Calls back when the network may have changed or the page wakes up. The function returned stops that.
 */
export function onWake(fn: (reason: string) => void): () => void {
  const undo: (() => void)[] = [];
  const heard = (e: Event) => {
    // What a hidden page misses it hears of when it is shown.
    if (typeof document != "object" || !document.hidden) fn(e.type);
  };
  const listen = (target: any, types: string[]) => {
    if (!target || !target.addEventListener) return;
    for (const type of types) {
      target.addEventListener(type, heard);
      undo.push(() => target.removeEventListener(type, heard));
    }
  };
  if (typeof self == "object") listen(self, ["online", "offline", "pageshow"]);
  if (typeof document == "object") listen(document, ["visibilitychange"]);
  if (typeof navigator == "object") listen(navigator.connection, ["change"]);
  return () => undo.forEach((f) => f());
}

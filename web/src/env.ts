import type { Options } from "./api";

/** What the client needs of its surroundings. Nothing here assumes a window. */
export interface Env {
  fetch: typeof fetch;
  WebSocket: any;
  storage: NonNullable<Options["storage"]> | null;
  clock: NonNullable<Options["clock"]>;
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
      storage = page && typeof localStorage == "object" ? localStorage : null;
    } catch (e) {}
  }
  return {
    // Called without a receiver, as browsers want it.
    fetch: o.fetch || ((input, init) => fetch(input, init)),
    WebSocket: o.WebSocket || (typeof WebSocket == "function" ? WebSocket : null),
    storage: storage || null,
    clock: o.clock || {
      setTimeout: (fn, ms) => setTimeout(fn, ms),
      clearTimeout: (id) => clearTimeout(id),
      now: typeof performance == "object" ? () => performance.now() : Date.now,
      date: Date.now,
      random: Math.random,
    },
  };
}

/**
 * Calls back when the network may have changed or the page wakes up. The function returned stops that.
 */
export function onWake(fn: (reason: string) => void): () => void {
  const undo: (() => void)[] = [];
  const listen = (target: any, type: string, reason = type) => {
    const heard = () => {
      if (type != "visibilitychange" || document.visibilityState == "visible") fn(reason);
    };
    if (target && target.addEventListener) {
      target.addEventListener(type, heard);
      undo.push(() => target.removeEventListener(type, heard));
    }
  };
  if (typeof self == "object") for (const type of ["online", "offline", "pageshow"]) listen(self, type);
  if (typeof document == "object") listen(document, "visibilitychange", "page visible");
  if (typeof navigator == "object") listen(navigator.connection, "change", "network changed");
  return () => undo.forEach((f) => f());
}

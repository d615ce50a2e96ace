import type { Options } from "./api";

/** What the client needs of its surroundings. Nothing here assumes a window. */
export interface Env extends NonNullable<Options["clock"]> {
  fetch: typeof fetch;
  WebSocket: any;
  storage: NonNullable<Options["storage"]> | null;
}

/** What a page or a worker has; nothing elsewhere. */
const surroundings = (): any => (typeof self == "object" ? self : {});

const page = surroundings().location || {};

/** The page's own address, undefined where there is no page. */
export const pageURL: string | undefined = page.href;
export const pageOrigin: string | undefined = page.origin;

export function environment(o: Options): Env {
  let storage = o.storage;
  if (storage === undefined) {
    try {
      // Reading the property throws where storage is blocked. Node has it, but not for this.
      if (pageURL) storage = localStorage;
    } catch (e) {}
  }
  const clock = o.clock || {
    setTimeout: (fn: () => void, ms: number) => setTimeout(fn, ms),
    clearTimeout: (id: any) => clearTimeout(id),
    now: () => performance.now(),
    date: Date.now,
    random: Math.random,
  };
  return Object.assign({}, clock, {
    // Called without a receiver, as browsers want it.
    fetch: o.fetch || ((input, init) => fetch(input, init)),
    WebSocket: o.WebSocket || (typeof WebSocket == "function" ? WebSocket : null),
    storage: storage || null,
  });
}

/** Parameters as a query; what is null or undefined is left out. */
export const params = (o: { readonly [name: string]: any }): string =>
  Object.keys(o)
    .filter((name) => o[name] != null)
    .map((name) => name + "=" + encodeURIComponent(o[name]))
    .join("&");

/** Enough letters and digits that nobody else has them. */
export const unique = (env: Env) => env.random().toString(36).slice(2) + env.random().toString(36).slice(2);

/**
 * Calls back when the network may have changed or the page wakes up. The function returned stops that.
 */
export function onWake(fn: (reason: string) => void): () => void {
  const here = surroundings();
  const { document = {}, navigator = {} } = here;
  // What a hidden page misses it hears of when it is shown.
  const heard = (e: Event) => document.hidden || fn(e.type);
  const each = (what: string) => {
    for (const type of ["online", "offline", "pageshow", "visibilitychange", "change"]) {
      const target = type == "change" ? navigator.connection : type[0] == "v" ? document : here;
      if (target && target[what]) target[what](type, heard);
    }
  };
  each("addEventListener");
  return () => each("removeEventListener");
}

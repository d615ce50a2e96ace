// What a page, a worker or another runtime has, made up: for tests of what the client asks of it.
import fs from "node:fs";
import vm from "node:vm";

const script = fs.readFileSync(new URL("../dist/culvert.global.js", import.meta.url), "utf8");

/** The classic script in surroundings that have the language, what is given here (getters stay such), and nothing of Node's. */
export function load(surroundings) {
  const context = vm.createContext({ AbortController, URL, TextDecoder, TextEncoder, setTimeout, clearTimeout, performance });
  Object.defineProperties(context, Object.getOwnPropertyDescriptors(surroundings));
  vm.runInContext("globalThis.self = globalThis", context);
  vm.runInContext(script, context);
  return { culvert: context.culvert, context };
}

/** Something that events happen to; `listeners` says how many listen. */
export const listens = () => {
  const target = new EventTarget();
  const all = new Set();
  return {
    addEventListener: (type, f) => (all.add(type), target.addEventListener(type, f)),
    removeEventListener: (type, f) => (all.delete(type), target.removeEventListener(type, f)),
    dispatchEvent: (event) => target.dispatchEvent(event),
    listeners: () => all.size,
  };
};

export const location = { href: "https://pages.test/a/b?c", origin: "https://pages.test" };

/** A page with its document, and what may happen to it. */
export function page() {
  const connection = listens();
  const document = { hidden: false, ...listens() };
  const top = listens();
  const happens = (type, target = top) => target.dispatchEvent(new Event(type));
  return { connection, document, happens, top, ...load({ location, navigator: { connection }, document, ...top }) };
}

import type { Env } from "./env";

/** One timer at a time, set and cleared by name. */
export class Timers {
  private ids = new Map<string, any>();

  constructor(private env: Env) {}

  set(name: string, ms: number, fn: () => void) {
    this.clear(name);
    this.ids.set(
      name,
      this.env.setTimeout(() => {
        this.ids.delete(name);
        fn();
      }, ms),
    );
  }

  has(name: string) {
    return this.ids.has(name);
  }

  clear(...names: string[]) {
    for (const name of names) {
      this.env.clearTimeout(this.ids.get(name));
      this.ids.delete(name);
    }
  }

  clearAll() {
    this.clear(...Array.from(this.ids.keys()));
  }
}

/** Full jitter between 0.5 s and a ceiling that doubles from 1 s to 20 s. */
export const backoff = (env: Env, attempt: number) =>
  500 + env.random() * (Math.min(20e3, 500 * 2 ** Math.min(attempt, 9)) - 500);

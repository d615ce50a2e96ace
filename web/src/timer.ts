import type { Env } from "./env";
import { none } from "./errors";

/** One timer at a time, set and cleared by name. */
export class Timers {
  /** What stops them. */
  private all = new Map<string, () => void>();

  constructor(private env: Env) {}

  set(name: string, ms: number, fn: () => void, cleared = none) {
    this.stop(name);
    const id = this.env.setTimeout(() => {
      this.all.delete(name);
      fn();
    }, ms);
    this.all.set(name, () => {
      this.env.clearTimeout(id);
      cleared();
    });
  }

  /** Resolves when the time is over, or when the timer is cleared: nobody waits for ever. */
  pause(name: string, ms: number) {
    return new Promise<void>((done) => this.set(name, ms, done, done));
  }

  has(name: string) {
    return this.all.has(name);
  }

  stop(...names: string[]) {
    for (const name of names) {
      const stop = this.all.get(name);
      this.all.delete(name);
      if (stop) stop();
    }
  }

  clearAll() {
    this.stop(...this.all.keys());
  }
}

/** Full jitter between 0.5 s and a ceiling that doubles from 1 s to 20 s. */
export const backoff = (env: Env, attempt: number) =>
  500 + env.random() * (Math.min(20e3, 500 * 2 ** attempt) - 500);

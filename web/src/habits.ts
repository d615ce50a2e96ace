import { Memory } from "./memory";
import type { Pipe } from "./pipe";

/** Lives shorter than this are short. */
const short = 15e3;
/** So many short lives in a row are enough. */
const shortLives = 3;

const near = (a: number, b: number, by: number) => Math.abs(a - b) <= by * Math.max(a, b);

/**
 * What this network does to connections, learned from how they end. Remembered are: "bad NAME" (1: it failed here),
 * "heartbeat" (seconds to ask for), "life KIND" (milliseconds after which something on the way strikes) and "wait" (the
 * longest wait of a poll in seconds).
 */
export class Habits extends Memory {
  private last: { [name: string]: { age: number; idle: number } } = {};
  private shorts: { [name: string]: number } = {};
  private demoted: { [name: string]: boolean } = {};

  /** Whether it is left to the upward probes. */
  isDemoted(name: string) {
    return this.demoted[name];
  }

  /** Whether one more short life would be the last. */
  isShaky(name: string) {
    return this.shorts[name] >= shortLives - 1;
  }

  /** A pipe that had worked broke, or fell silent, while plain requests still pass. */
  died(p: Pipe, silent: boolean, at: number) {
    const { kind, name } = p;
    const idle = at - p.heard;
    const age = (silent ? p.heard : at) - p.worksSince;
    const before = this.last[name];
    this.last[name] = { age, idle };
    let learned = false;
    const ask = (seconds: number) => {
      seconds = Math.max(1, Math.floor(seconds));
      if ((learned = seconds < p.heartbeat)) this.set("heartbeat", seconds);
    };
    // What is forgotten on the way for being idle is so after an unknown part of the time that nothing came.
    if (silent) idle > 5000 && ask(Math.min(p.heartbeat, idle / 1000) / 2);
    else if (before) {
      if (idle > 800 && near(idle, before.idle, 0.25)) ask(idle * 0.0006);
      if (!learned && age > 2000 && near(age, before.age, 0.15)) {
        this.set("life " + kind, Math.min(age, before.age));
        learned = true;
      }
    }
    if (age >= short) this.shorts[name] = 0;
    else if (!learned && (this.shorts[name] = (this.shorts[name] || 0) + 1) >= shortLives) {
      this.demoted[name] = true;
      this.set("bad " + name, 1);
    }
  }

  /** It may be tried again as if nothing had been. */
  forgive() {
    this.demoted = {};
  }
}

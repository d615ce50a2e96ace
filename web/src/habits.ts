import { Env } from "./env";
import { Memory } from "./memory";
import type { Pipe } from "./pipe";

/** Lives shorter than this are short. */
const short = 15e3;

const near = (a: number, b: number, by: number) => Math.abs(a - b) <= by * Math.max(a, b);

/** What this network does to connections, learned from how they end. */
export class Habits {
  readonly memory: Memory;
  private last: { [name: string]: { age: number; idle: number } } = {};
  private shorts: { [name: string]: number } = {};
  private demoted: { [name: string]: boolean } = {};

  constructor(env: Env, key: string) {
    this.memory = new Memory(env, key);
  }

  /** Whether it failed here in the last half hour. */
  bad = (name: string) => this.memory.get("bad " + name) > 0;

  /** Whether it is left to the upward probes. */
  isDemoted = (name: string) => !!this.demoted[name];

  failed(name: string) {
    this.memory.set("bad " + name, 1);
  }

  worked(name: string) {
    this.memory.set("bad " + name, 0);
  }

  /** Seconds between heartbeats to ask for, 0 for the server's own. */
  heartbeat = () => this.memory.get("heartbeat");

  /** Milliseconds after which a replacement is opened, 0 for never: before something on the way strikes. */
  overlap = (kind: string) => this.memory.get("life " + kind) * 0.8;

  /** The longest wait of a poll in seconds. */
  longestWait = () => this.memory.get("wait") || 20;

  cutWait(ms: number) {
    this.memory.set("wait", Math.max(1, Math.floor(ms * 0.0007)));
  }

  /** A pipe that had worked broke, or fell silent, while plain requests still pass. */
  died(p: Pipe, silent: boolean, at: number) {
    const { kind, name } = p;
    const idle = at - p.heard;
    const age = (silent ? p.heard : at) - p.since;
    const before = this.last[name];
    this.last[name] = { age, idle };
    let learned = false;
    const ask = (seconds: number) => {
      seconds = Math.max(1, Math.floor(seconds));
      if ((learned = seconds < p.heartbeat)) this.memory.set("heartbeat", seconds);
    };
    // What is forgotten on the way for being idle is so after an unknown part of the time between two heartbeats.
    if (silent) ask(p.heartbeat / 2);
    else if (before) {
      if (idle > 800 && near(idle, before.idle, 0.25)) ask(idle * 0.0006);
      if (!learned && age > 2000 && near(age, before.age, 0.15)) {
        this.memory.set("life " + kind, Math.min(age, before.age));
        learned = true;
      }
    }
    if (age >= short) this.shorts[name] = 0;
    else if (!learned && (this.shorts[name] = (this.shorts[name] || 0) + 1) >= 3) {
      this.demoted[name] = true;
      this.failed(name);
    }
  }

  /** It may be tried again as if nothing had been. */
  forgive() {
    this.demoted = {};
  }
}

import { CulvertError, asError } from "./errors";
import type { Habits } from "./habits";
import type { Http } from "./http";
import { Line, Owner } from "./pipe";
import { backoff } from "./timer";

/** In seconds. With what an answer may be late, silence is noticed within 20 s. */
const longestWait = 14;

/** What a poller needs of its owner. */
export interface Polled {
  /** Some room has no place yet: the answer is wanted at once. */
  unplaced(): boolean;
  /** One poll, delivered unless `stale`; resolves with true where it brought something new. */
  pollOnce(wait: number, abort?: AbortController, stale?: () => boolean): Promise<boolean>;
  /** After each answer; false stops the polling. */
  pollWorked(): boolean;
  /** One was not answered, or not well; if it was the first, another one follows. */
  pollFailed(error: CulvertError, again: boolean): void;
}

/** Long-polls, one after the other: what works wherever plain requests do. */
export class Poller extends Line<Polled & Owner> {
  running?: boolean;

  /** Seconds of the next wait. */
  private nextWait = 5;
  private life = 0;
  /** Polls in a row that came back soon with nothing new. */
  private idle = 0;
  private abort = new AbortController();

  constructor(owner: Polled & Owner, http: Http, private habits: Habits) {
    super(owner, http, "poll");
  }

  start() {
    if (this.running) return;
    this.running = true;
    this.loop(++this.life);
  }

  close() {
    this.running = false;
    this.life++;
    super.close();
    this.abort.abort();
  }

  /** The rooms are others now. */
  again() {
    if (!this.running) return;
    this.close();
    this.start();
  }

  private async loop(life: number) {
    const { env } = this.http;
    let now = true;
    let failed = 0;
    /** A wait that was cut after so many milliseconds, if the network is not to blame. */
    let cut = 0;
    this.worksSince = env.now();
    for (;;) {
      const wait = now || this.owner.unplaced() ? 0 : Math.min(this.nextWait, this.habits.get("wait") || longestWait);
      const began = env.now();
      let fresh = false;
      let error: CulvertError | undefined;
      this.abort = new AbortController();
      try {
        fresh = await this.owner.pollOnce(wait, this.abort, () => life != this.life);
      } catch (e) {
        error = asError(e);
      }
      if (life != this.life) return;
      const took = env.now() - began;
      if (!error) this.idle = fresh || took > 1000 ? 0 : this.idle + 1;
      let pause = this.idle > 3 ? backoff(env, this.idle - 3) : 0;
      if (error) {
        // One failure is not yet a path that fails: is the network gone, or does something cap the time of an answer?
        this.running = !(error.final || error.retryAfter || failed++);
        this.owner.pollFailed(error, this.running);
        if (!this.running) return;
        now = true;
        if (wait && took > 1500) cut = took;
        else pause += 100 + 400 * env.random();
      } else {
        this.heard = env.now();
        failed = 0;
        if (cut) this.habits.set("wait", Math.max(1, Math.floor(cut * 0.0007)));
        else if (wait && took > wait * 900) this.nextWait = wait * 2;
        cut = 0;
        // Connections that are dead are found out by requests that are answered at once.
        now = this.http.hedged > began;
        if (!this.owner.pollWorked()) {
          this.running = false;
          return;
        }
        // In a busy room messages gather a little.
        pause = Math.max(pause, 50 - took);
      }
      if (pause > 0) await this.timers.pause("pause", pause);
      if (life != this.life) return;
    }
  }
}

// One run of the doctor's tests: what all of them share.
import type { Form } from "./flow";
import { Answer, ask, Echo, now, once, pause, readEcho, refusal, retryAfter, words } from "./net";
import { Mark, Report, Step } from "./report";

/** Milliseconds: how long a connection is left alone, the longest poll, and what an answer may take that should come at once. */
export interface Times {
  idle: number;
  wait: number;
  patience: number;
}

export type Result = [Mark, string];

/** What becomes of something that should last. */
export interface Fate {
  end: "lasted" | "silent" | "cut" | "spent"; // spent: not tested
  ms: number;
  drained?: boolean; // the server ended it, and said so
  why?: string; // it was not tested
}

export const spent: Fate = { end: "spent", ms: 0, why: "it did not open" };

/** Why tests are not made. */
export const noWebSocket = "there is no WebSocket";
export const noPost = "POST does not get through";

/** A test that takes long and only waits. */
export interface Wait {
  title: string;
  ms: number;
  test: () => Promise<Fate>;
  lives: number; // of the server, when it began
  fate?: Promise<Fate>; // of one that runs
}

export const notJudged = "not judged: the server was started again meanwhile";
export const onceMore = "the server was started again meanwhile: once more";
export const wentAway = "the server went out of reach";

export const seconds = (ms: number) => Math.max(1, Math.round(ms / 1000));

/** What a program says of its own failure. */
export const why = (error: any) => String((error && error.message) || error).replace(/\s+/g, " ").slice(0, 200);

/** What tests have shown for those that follow. */
const conclusions = () => ({
  failed: 0, // requests, for reasons of the network
  rtt: 0,
  canPost: true,
  crowded: false, // few requests at a time get through
  websocket: false, // proven, a large frame too
  websocketLasts: false,
  flowing: undefined as Form | undefined, // the form of a stream that flows best
  firstEvent: Infinity, // how soon one came on a stream, at best
});

export class Run {
  shown = conclusions();
  /** When the last of the tests that wait will have ended. */
  until = 0;
  /** How many other servers there were than the first. */
  lives = 0;
  /** Why the server cannot be reached any more. */
  gone = "";
  private since = now(); // a server that began after this is another one than before

  /** progress hears of each test when it begins, without a state, and when it has ended. */
  constructor(
    readonly report: Report,
    readonly times: Times,
    private readonly progress: (step: Step) => void,
  ) {}

  /** Makes a test; one that the server's own restart fell into is made again. */
  step(id: string, title: string, test: () => Promise<Result>): Promise<Mark> {
    return this.tell(id, title, () => (this.gone ? Promise.resolve<Result>(["skipped", wentAway]) : this.judge(test)));
  }

  /** Makes a test whatever becomes of the server. It is expected to take so many milliseconds where that is long. */
  async tell(id: string, title: string, test: () => Promise<Result>, expected?: number): Promise<Mark> {
    const step: Step = { id, title, result: "", expected };
    this.progress(step);
    try {
      [step.state, step.result] = await test();
    } catch (error) {
      this.report.miss(title, why(error));
      [step.state, step.result] = ["skipped", "could not be made: " + why(error)];
    }
    this.report.steps.push(step);
    this.progress(step);
    return step.state!;
  }

  skip(id: string, title: string, why: string) {
    return this.tell(id, title, async () => ["skipped", why]);
  }

  private async judge(test: () => Promise<Result>): Promise<Result> {
    const { report } = this;
    for (let again = false; ; again = true) {
      const before = Object.assign({}, this.shown);
      const findings = report.findings.length;
      const { lives } = this;
      const result = await test();
      if (result[0] == "good") return result;
      await this.look();
      if (!this.gone && this.lives == lives) return result;
      // What the server took with it says nothing of the network.
      this.shown = before;
      report.findings.length = findings;
      if (this.gone) return ["bad", wentAway];
      report.find("restarted");
      if (again) return ["skipped", notJudged];
    }
  }

  /**
   * Looks, after something went wrong, whether the server is still there, and
   * whether it is the one that it was. One that is being started anew is waited
   * for. Silence says little: a browser may ask on a connection that was forgotten.
   */
  async look() {
    const { patience } = this.times;
    for (const end = now() + 3 * patience; ; await pause(500)) {
      const path = once("/doctor/echo");
      const sent = now();
      const answer = await ask(patience, path);
      const echo = readEcho(answer, path);
      // Several servers may answer in turn, so it is the age that counts.
      if (echo && echo.uptime !== undefined && sent - echo.uptime > this.since) {
        this.since = now();
        this.lives++;
      }
      if (echo || answer.silent) return;
      if (now() < end) continue;
      if (!retryAfter(answer) && answer.status != 429) this.gone = words(answer); // else it is there, and busy
      return;
    }
  }

  /** Begins what takes long beside the other tests, or, where they would be in each other's way, when it is asked for. */
  beside(title: string, ms: number, test: () => Promise<Fate>): Wait {
    const wait: Wait = { title, ms, test, lives: 0 };
    if (!this.shown.crowded) this.begin(wait);
    return wait;
  }

  begin(wait: Wait) {
    if (wait.fate) return;
    this.until = Math.max(this.until, now() + wait.ms);
    wait.lives = this.lives;
    wait.fate = wait.test().catch((error) => {
      this.report.miss(wait.title, why(error));
      return { end: "spent", ms: 0, why: "could not be made: " + why(error) };
    });
  }

  /** Asks for an echo up to three times, since a single failure says little. */
  async echo(query = "", init?: RequestInit): Promise<{ echo?: Echo; answer: Answer }> {
    for (let tries = 1; ; tries++) {
      const path = once("/doctor/echo" + query);
      const answer = await ask(this.times.patience, path, init);
      const echo = readEcho(answer, path);
      if (echo || refusal(answer)) return { echo, answer };
      this.shown.failed++;
      if (tries == 3) return { answer };
    }
  }
}

// One run of the doctor's tests: what all of them share.
import type { Form } from "./flow";
import { Answer, ask, Echo, now, once, readEcho, refusal } from "./net";
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
}

export const spent: Fate = { end: "spent", ms: 0 };

export const seconds = (ms: number) => Math.max(1, Math.round(ms / 1000));

export class Run {
  readonly report = new Report();
  failed = 0; // requests, for reasons of the network
  rtt = 0;
  canPost = true;
  crowded = false; // few requests at a time get through
  websocket = false; // proven, a large frame too
  websocketLasts = false;
  flowing?: Form; // the form of a stream that flows best
  firstEvent = Infinity; // how soon one came on a stream, at best
  /** When the last of the tests that wait will have ended. */
  until = 0;

  /** progress hears of each test when it begins, without a state, and when it has ended. */
  constructor(
    readonly times: Times,
    private readonly progress: (step: Step) => void,
  ) {}

  /** Makes a test, which is expected to take so many milliseconds where that is long. */
  async step(id: string, title: string, test: () => Promise<Result>, expected?: number): Promise<Mark> {
    const step: Step = { id, title, result: "", expected };
    this.progress(step);
    [step.state, step.result] = await test();
    this.report.steps.push(step);
    this.progress(step);
    return step.state;
  }

  skip(id: string, title: string) {
    return this.step(id, title, async () => ["skipped", ""]);
  }

  /** Begins what takes long beside the other tests, or, where they would be in each other's way, when it is asked for. */
  beside(ms: number, test: () => Promise<Fate>): () => Promise<Fate> {
    const begin = () => {
      this.until = Math.max(this.until, now() + ms);
      return test();
    };
    const begun = this.crowded ? undefined : begin();
    return () => begun || begin();
  }

  /** Asks for an echo up to three times, since a single failure says little. */
  async echo(query = "", init?: RequestInit): Promise<{ echo?: Echo; answer: Answer }> {
    for (let tries = 1; ; tries++) {
      const path = once("/doctor/echo" + query);
      const answer = await ask(this.times.patience, path, init);
      const echo = readEcho(answer, path);
      if (echo || refusal(answer)) return { echo, answer };
      this.failed++;
      if (tries == 3) return { answer };
    }
  }
}

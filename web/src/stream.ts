import { CulvertError, asError } from "./errors";
import type { Http } from "./http";
import type { End, Envelope, Owner, Pipe } from "./pipe";
import { Timers } from "./timer";

/** How a stream is asked for, best first: some paths hold back GETs, some event streams, some the first kilobytes. */
export const forms: readonly { post: boolean; accept: string; pad: number }[] = [
  { post: false, accept: "text/event-stream", pad: 0 },
  { post: true, accept: "text/event-stream", pad: 0 },
  { post: true, accept: "text/plain", pad: 0 },
  { post: true, accept: "text/plain", pad: 16384 },
];

/** The server sends two events this many milliseconds apart; closer together they have been held back. */
const apart = 300;

/** Server-sent events, read with fetch. It is proven by two events that come as far apart as they were sent. */
export class Stream implements Pipe {
  readonly kind = "sse";
  readonly name: string;
  since: number;
  heard: number;
  heartbeat = 15;
  readonly broken = new Set<string>();
  /** Resolves with "good", "held", "batched" or why it failed. */
  readonly verdict: Promise<string>;

  private judge!: (verdict: string) => void;
  private over = false;
  private first = 0;
  private judged = false;
  private abort = new AbortController();
  private timers: Timers;

  constructor(private owner: Owner, private http: Http, readonly form: number, rooms: string, query: string) {
    this.name = "sse" + form;
    this.timers = new Timers(http.env);
    this.since = this.heard = http.env.clock.now();
    this.verdict = new Promise((done) => (this.judge = done));
    this.run(rooms, query);
  }

  private async run(rooms: string, query: string) {
    const { post, accept, pad } = forms[this.form];
    query += "&probe=1" + (pad ? "&pad=" + pad : "");
    this.limit("held", 2 * this.http.rtt);
    try {
      const res = await this.http.send("/rooms/" + rooms + "/sse", post ? "" : query, post ? query : undefined, accept, this.abort.signal);
      if (res.status != 200) {
        const error = await this.http.refusal(res);
        const told = error.final || (error.code != "bad_answer" && !!error.retryAfter);
        return this.end({ error, told, reconnect: error.final ? "never" : "backoff" }, error.message);
      }
      if (!res.body) throw new CulvertError("network", "this browser does not show an answer before its end");
      await this.read(res.body.getReader());
      this.fail("network", "the stream ended");
    } catch (e) {
      this.fail(asError(e).code, asError(e).message);
    }
  }

  private limit(verdict: string, more: number) {
    this.timers.set("limit", Math.max(1000, more), () => this.fail("timeout", verdict));
  }

  private async read(reader: ReadableStreamDefaultReader<Uint8Array>) {
    const decoder = new TextDecoder();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done || this.over) return;
      const lines = (rest + decoder.decode(value, { stream: true })).split("\n");
      rest = lines.pop()!;
      this.heard = this.http.env.clock.now();
      // An event's data is one line, and says everything.
      for (const line of lines) if (!this.over && line.slice(0, 5) == "data:") this.event(line.slice(5));
    }
  }

  private event(text: string) {
    let envelope: Envelope;
    try {
      envelope = JSON.parse(text);
    } catch (e) {
      return this.fail("bad_answer", "an event that is not Culvert's");
    }
    const now = this.heard;
    if (envelope.type == "hello") {
      if (envelope.protocol != 1) return this.fail("bad_answer", "another version of the protocol");
      this.first = this.since = now;
      if (envelope.heartbeat >= 1) this.heartbeat = envelope.heartbeat;
      this.limit("held", apart + 2 * this.http.rtt);
    } else if (!this.first) return this.fail("bad_answer", "an event before hello");
    this.owner.receive(envelope, this);
    if (envelope.type == "heartbeat" && !this.judged && !this.over) {
      if (now - this.first < apart / 3) return this.fail("timeout", "batched");
      this.judged = true;
      this.timers.clear("limit");
      this.judge("good");
      this.owner.proven(this);
    }
  }

  private fail(code: string, message: string) {
    this.end({ error: new CulvertError(code, message), told: false, reconnect: "backoff" }, message);
  }

  private end(end: End, verdict: string) {
    if (this.over) return;
    this.close(verdict);
    this.owner.ended(this, end);
  }

  close(verdict = "not needed any more") {
    this.over = true;
    this.timers.clearAll();
    this.abort.abort();
    this.judge(verdict);
  }
}

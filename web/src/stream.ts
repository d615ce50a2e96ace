import { CulvertError, asError } from "./errors";
import type { Http } from "./http";
import { Line, Owner } from "./pipe";

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
export class Stream extends Line {
  private judged?: boolean;
  private abort = new AbortController();

  constructor(owner: Owner, http: Http, readonly form: number, rooms: string, query: string) {
    super(owner, http, "sse", "sse" + form);
    this.run(rooms, query);
  }

  private async run(rooms: string, query: string) {
    const { http } = this;
    const { post, accept, pad } = forms[this.form];
    query += "&probe=1&pad=" + pad;
    this.limit(0);
    try {
      const res = await http.send("/rooms/" + rooms + "/sse", post ? "" : query, post ? query : undefined, accept, this.abort.signal);
      if (res.status != 200) {
        const error = await http.refusal(res);
        return this.end(error, error.final || !!error.retryAfter, error.final ? "never" : "backoff");
      }
      const reader = res.body!.getReader();
      const decoder = new TextDecoder();
      for (let rest = ""; ; ) {
        const { done, value } = await reader.read();
        if (this.over) return;
        if (done) break;
        const lines = (rest + decoder.decode(value, { stream: true })).split("\n");
        rest = lines.pop()!;
        // An event's data is one line, and says everything.
        for (const line of lines) if (!this.over && line.slice(0, 5) == "data:") this.event(line.slice(5));
      }
      this.fail("the stream ended");
    } catch (e) {
      this.fail(asError(e).message);
    }
  }

  private limit(more: number) {
    this.timers.set("limit", Math.max(1000, more + 2 * this.http.rtt), () => this.fail("held", "timeout"));
  }

  private event(text: string) {
    const m = this.parse(text);
    if (!m) return;
    if (m.type == "hello") this.limit(apart);
    this.owner.receive(m, this);
    if (m.type == "heartbeat" && !this.judged && !this.over) {
      if (this.heard - this.since < apart / 3) return this.fail("batched", "timeout");
      this.judged = true;
      this.good();
    }
  }

  close(error?: CulvertError) {
    super.close(error);
    this.abort.abort();
  }
}

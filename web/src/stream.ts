import { CulvertError, asError } from "./errors";
import { Http, content } from "./http";
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
  /** When the server sent hello, by its clock. */
  private began?: number;
  private abort = new AbortController();

  constructor(owner: Owner, http: Http, readonly form: number, readonly rooms: string, query: string) {
    super(owner, http, "sse", "sse" + form);
    this.run(query);
  }

  private async run(query: string) {
    const { http } = this;
    const { post, accept, pad } = forms[this.form];
    query += "&probe=1&pad=" + pad;
    this.limit(0);
    try {
      const res = await http.send("/rooms/" + this.rooms + "/sse", post ? "" : query, post ? query : undefined, accept, this.abort.signal);
      if (res.status != 200) {
        const error = http.refusal(res, await content(res));
        return this.end(error, error.final || !!error.retryAfter, error.final ? "never" : "backoff");
      }
      const reader = res.body!.getReader();
      const decoder = new TextDecoder();
      for (let rest = ""; ; ) {
        const { done, value } = await reader.read();
        if (this.over) return;
        if (done) break;
        const text = rest + decoder.decode(value, { stream: true });
        const lines = text.split("\n");
        rest = lines.pop()!;
        // An event's data is one line, and says everything.
        for (const line of lines) if (!this.over && line.slice(0, 5) == "data:") this.take(line.slice(5), text.endsWith(line + "\n\n"));
      }
      this.fail("the stream ended");
    } catch (e) {
      this.fail(asError(e).message);
    }
  }

  private limit(more: number) {
    this.timers.set("limit", Math.max(1000, more + 2 * this.http.roundTrip), () => this.fail("held", "timeout"));
  }

  /** isLast: nothing came together with it that is behind it. */
  private take(text: string, isLast: boolean) {
    const m = this.parse(text);
    if (!m) return;
    if (m.type == "hello") {
      this.began = m.time;
      this.limit(apart);
    }
    this.owner.receive(m, this);
    if (m.type == "heartbeat" && !this.judged && !this.over) {
      const late = this.heard - this.worksSince - (m.time - this.began!);
      // Where kilobytes are gathered, others may have pushed it out in time; but then it comes amid them.
      if (Math.abs(late) > (apart * 2) / 3 || !isLast) return this.fail("batched", "timeout");
      this.judged = true;
      this.good();
    }
  }

  close(error?: CulvertError) {
    super.close(error);
    this.abort.abort();
  }
}

// A stream whose events are noted as they come.
import { now, once, room, saysDraining, url } from "./net";

export interface Form {
  id: string;
  name: string;
  method: string;
  accept: string;
}

/** In the order in which the client tries them. */
export const forms: Form[] = [
  { id: "stream-get", name: "GET event-stream", method: "GET", accept: "text/event-stream" },
  { id: "stream-post", name: "POST event-stream", method: "POST", accept: "text/event-stream" },
  { id: "stream-text", name: "POST text/plain", method: "POST", accept: "text/plain" },
];

export class Flow {
  compressed = false;
  bytes = 0;
  ended = false;
  drained = false; // the server said that it goes
  private readonly control = new AbortController();
  private readonly times: number[] = [];
  private wake: () => void = () => {};

  /** Returns with the head of the answer; what came instead of it is an error. */
  async open(form: Form, params: string, patience: number): Promise<"" | "silent" | string> {
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      this.control.abort();
    }, patience);
    const get = form.method == "GET";
    try {
      const response = await fetch(url(once("/rooms/" + room("stream") + "/sse") + (get ? "&" + params : "")), {
        method: form.method,
        headers: get ? { Accept: form.accept } : { Accept: form.accept, "Content-Type": "text/plain" },
        body: get ? undefined : params,
        cache: "no-store",
        signal: this.control.signal,
      });
      if (response.status != 200 || !response.body) return "status " + response.status;
      this.compressed = /gzip|br|deflate|zstd/.test(response.headers.get("Content-Encoding") || "");
      this.read(response.body.getReader());
      return "";
    } catch {
      return late ? "silent" : "the connection failed";
    } finally {
      clearTimeout(timer);
    }
  }

  private async read(reader: ReadableStreamDefaultReader<Uint8Array>) {
    try {
      const decoder = new TextDecoder();
      let rest = "";
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        this.bytes += value!.length;
        const lines = (rest + decoder.decode(value, { stream: true })).split("\n");
        rest = lines.pop()!;
        for (const line of lines) {
          if (saysDraining(line)) this.drained = true;
          else if (line.startsWith("data:")) this.times.push(now());
        }
        this.wake();
      }
    } catch {
      // Its end is what counts.
    }
    this.ended = true;
    this.wake();
  }

  /** When the next event came; undefined where it did not. */
  async next(patience: number): Promise<number | undefined> {
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      this.wake();
    }, patience);
    while (!this.times.length && !this.ended && !late) await new Promise<void>((wake) => (this.wake = wake));
    clearTimeout(timer);
    return this.times.shift();
  }

  close() {
    this.control.abort();
  }
}

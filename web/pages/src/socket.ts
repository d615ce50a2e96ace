// A WebSocket with one command under way at a time.
import { base } from "./dom";
import { once, parse, room, saysDraining } from "./net";

export type Trouble = "silent" | "ended" | "corrupt";

export class Socket {
  private readonly ws: WebSocket;
  private readonly frames: any[] = [];
  private wake: () => void = () => {};
  private ref = 0;
  private opened = false;
  private closed = false;
  private corrupt = false;
  drained = false; // the server said that it goes

  constructor(query: string) {
    this.ws = new WebSocket(base.replace(/^http/, "ws") + once("/rooms/" + room("ws") + "/ws" + query));
    this.ws.onopen = () => {
      this.opened = true;
      this.wake();
    };
    this.ws.onmessage = (event) => {
      this.drained = this.drained || saysDraining(String(event.data));
      this.frames.push(parse(event.data) || {});
      this.wake();
    };
    this.ws.onclose = (event) => {
      this.closed = true;
      // What the server, or the browser, says of text that is none.
      if (event.code == 1007) this.corrupt = true;
      this.wake();
    };
  }

  /** Waits for what is true at last, the end, or the patience to run out. */
  private async until(done: () => boolean, patience: number): Promise<Trouble | undefined> {
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      this.wake();
    }, patience);
    while (!done() && !this.closed && !late) await new Promise<void>((wake) => (this.wake = wake));
    clearTimeout(timer);
    if (done()) return undefined;
    return this.corrupt ? "corrupt" : this.closed ? "ended" : "silent";
  }

  open(patience: number): Promise<Trouble | undefined> {
    return this.until(() => this.opened, patience);
  }

  async next(patience: number): Promise<any | Trouble> {
    const trouble = await this.until(() => this.frames.length > 0, patience);
    if (trouble) return trouble;
    const frame = this.frames.shift();
    return frame.type ? frame : "corrupt";
  }

  /** Sends size bytes and wants them, and as many others, back. */
  async ping(patience: number, size: number): Promise<Trouble | undefined> {
    const data = "d".repeat(size);
    const ref = ++this.ref;
    if (this.closed) return "ended";
    this.ws.send(JSON.stringify({ type: "ping", ref, data, size }));
    const end = performance.now() + patience;
    for (;;) {
      const frame = await this.next(Math.max(0, end - performance.now()));
      if (typeof frame == "string") return frame as Trouble;
      if (frame.type == "error") return "corrupt";
      if (frame.type == "reply" && frame.ref == ref) return frame.ok && frame.data == data && (frame.fill || "").length == size ? undefined : "corrupt";
    }
  }

  close() {
    this.ws.onclose = this.ws.onmessage = this.ws.onopen = null;
    this.closed = true;
    this.ws.close();
  }
}

import type { Transport } from "./api";
import { CulvertError, foreign } from "./errors";
import type { Http } from "./http";
import { Timers } from "./timer";

/** Any envelope, as it came. */
export type Envelope = { readonly type: string; readonly [field: string]: any };

/** Something that messages come through. Two may run at once; what comes twice is dropped behind them. */
export interface Pipe {
  readonly kind: Transport;
  /** What is remembered of it: "websocket", "poll", "sse0", "sse1", ... */
  readonly name: string;
  /** Clock readings: when it began to work, and when it last said something. */
  since: number;
  heard: number;
  /** Seconds between heartbeats, as hello said. */
  heartbeat: number;
  /** Rooms whose messages miss a beginning here; their offsets are not followed until that is mended. */
  readonly broken: Set<string>;
  close(): void;
}

/** Why a pipe ended. */
export interface End {
  readonly error: CulvertError;
  /** True where the server said so itself, by bye, a close code or an error: the path is not to blame. */
  readonly told: boolean;
  readonly reconnect: "now" | "backoff" | "never";
}

/** Whom pipes tell. */
export interface Owner {
  receive(envelope: Envelope, from: Pipe): void;
  /** It has shown that it carries both ways (WebSocket) or lets events through as they come (stream). */
  proven(pipe: Pipe): void;
  ended(pipe: Pipe, end: End): void;
}

/** What WebSockets and streams have in common: a connection that begins with hello. */
export class Line implements Pipe {
  since: number;
  heard: number;
  heartbeat = 15;
  readonly broken = new Set<string>();
  /** The server's first word has come. */
  open?: boolean;

  protected over?: boolean;
  protected timers: Timers;

  constructor(protected owner: Owner, protected http: Http, readonly kind: Transport, readonly name: string) {
    this.timers = new Timers(http.env);
    this.since = this.heard = http.env.now();
  }

  /** Reads an envelope. What is not Culvert's ends the line. */
  protected parse(text: unknown): Envelope | undefined {
    let m: Envelope | undefined;
    try {
      m = JSON.parse(text as string);
    } catch (e) {}
    this.heard = this.http.env.now();
    const hello = m && m.type == "hello";
    if (!m || (hello ? m.protocol != 1 : !this.open && m.type != "error")) {
      this.end({ error: foreign(), told: false, reconnect: "backoff" });
      return;
    }
    if (hello) {
      this.open = true;
      this.since = this.heard;
      if (m.heartbeat >= 1) this.heartbeat = m.heartbeat;
    }
    return m;
  }

  protected fail(message: string, code = "network") {
    this.end({ error: new CulvertError(code, message), told: false, reconnect: "backoff" });
  }

  protected end(end: End) {
    if (this.over) return;
    this.close(end.error);
    this.owner.ended(this, end);
  }

  close(_?: CulvertError) {
    this.over = true;
    this.timers.clearAll();
  }
}

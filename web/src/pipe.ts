import type { Transport } from "./api";
import type { Reconnect } from "./codes";
import { CulvertError, foreign, parse } from "./errors";
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
  worksSince: number;
  heard: number;
  /** Seconds between heartbeats, as hello said. */
  heartbeat: number;
  /** Rooms whose messages miss a beginning here; their offsets are not followed until that is mended. */
  readonly broken: Set<string>;
  close(): void;
}

/** Whom pipes tell. */
export interface Owner {
  receive(envelope: Envelope, from: Pipe): void;
  /** It has shown that it carries both ways (WebSocket) or lets events through as they come (stream). */
  proven(pipe: Pipe): void;
  /**
   * It ended: isTold is true where the server said so itself, by bye, a close code or an error, so that the path is not to
   * blame; then it says how to go on, too.
   */
  ended(pipe: Pipe, error: CulvertError, isTold?: boolean, reconnect?: Reconnect): void;
  /** A WebSocket's handshake is done. */
  opened(pipe: Pipe): void;
}

/** What WebSockets and streams have in common: a connection that begins with hello. */
export class Line<O extends Owner = Owner> implements Pipe {
  worksSince: number;
  heard: number;
  heartbeat = 15;
  readonly broken = new Set<string>();
  /** The server's first word has come. */
  open?: boolean;
  /** Resolves with "good" when it is proven, or with why it is not. */
  readonly verdict: Promise<string>;

  private judge!: (verdict: string) => void;
  protected over?: boolean;
  protected timers: Timers;

  constructor(protected owner: O, protected http: Http, readonly kind: Transport, readonly name: string = kind) {
    this.timers = new Timers(http.env);
    this.verdict = new Promise((done) => (this.judge = done));
    this.worksSince = this.heard = http.env.now();
  }

  /** Reads an envelope. What is not Culvert's ends the line. */
  protected parse(text: unknown): Envelope | undefined {
    const m: Envelope | undefined = parse(text);
    this.heard = this.http.env.now();
    const hello = m && m.type == "hello";
    if (!m || (hello ? m.protocol != 1 : !this.open && m.type != "error")) {
      this.end(foreign());
      return;
    }
    if (hello) {
      this.open = true;
      this.worksSince = this.heard;
      if (m.heartbeat >= 1) this.heartbeat = m.heartbeat;
    }
    return m;
  }

  protected good() {
    this.timers.stop("limit");
    this.judge("good");
    this.owner.proven(this);
  }

  protected fail(message: string, code = "network") {
    this.end(new CulvertError(code, message));
  }

  protected end(error: CulvertError, isTold?: boolean, reconnect?: Reconnect) {
    if (this.over) return;
    this.close(error);
    this.owner.ended(this, error, isTold, reconnect);
  }

  close(error?: CulvertError) {
    this.over = true;
    this.judge(error ? error.message : "closed");
    this.timers.clearAll();
  }
}

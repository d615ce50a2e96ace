import type { Transport } from "./api";
import type { CulvertError } from "./errors";

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

// Made from src/api.ts and src/codes.ts by go generate. DO NOT EDIT.

/** The codes that a server of this version sends; a newer one may send others. */
export type Code =
  | "bad_room"
  | "bad_cursor"
  | "bad_parameter"
  | "too_many_rooms"
  | "bad_json"
  | "bad_utf8"
  | "bad_body"
  | "empty_body"
  | "bad_key"
  | "message_too_large"
  | "body_too_large"
  | "batch_too_large"
  | "unsupported_encoding"
  | "unsupported_type"
  | "unsupported_method"
  | "not_found"
  | "upgrade_required"
  | "bad_upgrade"
  | "origin_not_allowed"
  | "bad_command"
  | "unknown_command"
  | "bad_ref"
  | "not_subscribed"
  | "binary_frame"
  | "bad_frame"
  | "frame_too_large"
  | "key_conflict"
  | "key_in_progress"
  | "keys_full"
  | "outcome_unknown"
  | "store_unavailable"
  | "behind"
  | "draining"
  | "too_many_connections"
  | "request_timeout"
  | "internal"
  | "gap"
  | "slow"
  | "silent";

/** The codes that the client itself gives, beside those of the server. */
export type LocalCode =
  /** Nothing came back: no network, refused, reset, or kept from the page by the browser. */
  | "network"
  /** Nothing came back in time. */
  | "timeout"
  /** What came back was not Culvert's: a captive portal, a proxy's error page, half an answer. */
  | "bad_answer"
  /** The token function failed. */
  | "token_failed"
  /** The address given to `connect` is none of `http:`, `https:`, `ws:` or `wss:`, nor relative to a page. */
  | "bad_url"
  /** The queue of publishes is full. */
  | "queue_full"
  /** An iterator was not read for so long that messages would have piled up without end. */
  | "iterator_full"
  /** The client or the room was closed. */
  | "closed";

/** Every error of the client is one of these. */
export interface CulvertError extends Error {
  /** Stable; the server's are listed in its CODES.md. A newer server may send others. */
  readonly code: Code | LocalCode | string;
  /** The HTTP status, where there was one. */
  readonly status?: number;
  /** What would have been right. */
  readonly allowed?: string;
  /** The room that is meant, where the server refuses one of several. */
  readonly room?: string;
  /** Milliseconds to wait before another attempt. */
  readonly retryAfter?: number;
  /** The same request would fail again. */
  readonly final: boolean;
}

export type Transport = "websocket" | "sse" | "poll";

/**
 * - `idle`: there is no room to read.
 * - `connecting`: being tried now.
 * - `connected`: messages arrive over `transport`.
 * - `waiting`: out of reach; the next attempt is in `retryIn` milliseconds.
 * - `failed`: the server refused for good; `error` says why. `reconnect()` tries again.
 * - `closed`: by `close()`.
 */
export type State = "idle" | "connecting" | "connected" | "waiting" | "failed" | "closed";

export interface StateEvent {
  readonly type: "state";
  readonly state: State;
  readonly transport: Transport | null;
  /** Why it changed, for people and logs. */
  readonly reason: string;
  readonly error?: CulvertError;
  /** In state `waiting`: milliseconds to the next attempt. */
  readonly retryIn?: number;
}

export interface Message<T = any> {
  readonly type: "message";
  readonly room: string;
  /** 1, 2, 3, ... without holes in one epoch; an ephemeral message has neither. */
  readonly offset?: number;
  readonly epoch?: string;
  readonly ephemeral?: true;
  readonly id: string;
  /** Unix milliseconds by the server's clock. */
  readonly time: number;
  readonly from?: string;
  readonly data: T;
}

/** What lies between `from` and `to` cannot be delivered any more. Reading goes on after `to`. */
export interface Gap {
  readonly type: "gap";
  readonly room: string;
  readonly reason: "evicted" | "lost" | "fork" | string;
  readonly from: string;
  readonly to: string;
  /** How many messages, where that is known. */
  readonly missed?: number;
}

export interface PresenceEvent {
  readonly type: "presence";
  readonly room: string;
  readonly event: "join" | "leave";
  readonly client: string;
  readonly from?: string;
  readonly since: number;
  readonly count: number;
}

export interface Published {
  readonly room: string;
  /** Absent where the message was ephemeral. */
  readonly offset?: number;
  readonly epoch?: string;
  readonly id: string;
  readonly time: number;
  readonly cursor?: string;
  /** True where the same key had published the same content before. */
  readonly duplicate: boolean;
}

export interface PublishOptions {
  /** Idempotency key, 1-200 bytes of printable ASCII. Default: one of the client's own. */
  key?: string;
  /** Deliver to who is connected, keep nothing. */
  ephemeral?: boolean;
}

export interface RoomOptions {
  /** Go on after this place: a room's `cursor`, kept from before. It beats `last`, which beats `from`. */
  cursor?: string;
  /** Start with the newest so many messages, 0-1000. */
  last?: number;
  /** Start with the oldest message still there. Default: from now on. */
  from?: "start";
  /** Also deliver presence events. */
  presence?: boolean;
}

export interface HistoryOptions {
  after?: string;
  before?: string;
  from?: "start";
  /** 1-1000, default 100. */
  limit?: number;
}

export interface HistoryPage<T = any> {
  readonly room: string;
  readonly messages: readonly Message<T>[];
  /** The place after the last message: `after` for the next page. */
  readonly cursor: string;
  /** What to ask for the page before this one. */
  readonly before?: string;
  readonly more: boolean;
  readonly gap?: Gap;
}

export interface Presence {
  readonly room: string;
  readonly members: readonly { readonly client: string; readonly from?: string; readonly since: number }[];
  readonly count: number;
}

/** What is told to listeners. */
export interface RoomEvents<T = any> {
  message: Message<T>;
  gap: Gap;
  presence: PresenceEvent;
  state: StateEvent;
}

/**
 * A room that is being read. The same name gives the same room until it is closed, and another one after that. A room
 * that the server refuses ends alone: its state is `failed`, with the error, and it is closed. The others go on.
 */
export interface Room<T = any> extends AsyncIterable<Message<T> | Gap> {
  readonly name: string;
  /** The place after the last message delivered; undefined before the server has told it. */
  readonly cursor: string | undefined;
  /** Listens; the function returned stops it. */
  on<K extends keyof RoomEvents>(type: K, listener: (event: RoomEvents<T>[K]) => void): () => void;
  off<K extends keyof RoomEvents>(type: K, listener: (event: RoomEvents<T>[K]) => void): void;
  /** Resolves when the server has it; tried until then, once in effect. In order with the client's other publishes. */
  publish(data: T, options?: PublishOptions): Promise<Published>;
  history(options?: HistoryOptions): Promise<HistoryPage<T>>;
  presence(limit?: number): Promise<Presence>;
  /** Stops reading. Iterators end, publishes go on. */
  close(): void;
  /**
   * Messages and gaps as they come, from the call on. It throws the error of a room or a client that failed; after
   * `reconnect()` another one goes on.
   */
  [Symbol.asyncIterator](): AsyncIterator<Message<T> | Gap, undefined>;
}

/** One test of `diagnose()`. */
export interface Finding {
  readonly test: string;
  readonly ok: boolean;
  /** Milliseconds. */
  readonly ms: number;
  /** In plain words; "good" where it is. */
  readonly result: string;
}

export interface Report {
  readonly url: string;
  readonly state: State;
  readonly transport: Transport | null;
  readonly reason: string;
  readonly findings: readonly Finding[];
  /** Milliseconds that the server's clock is ahead of this one. */
  readonly clock?: number;
  /** Round trip of a plain request in milliseconds. */
  readonly rtt?: number;
  /** What the client remembers of this network. */
  readonly learned: { readonly [name: string]: unknown };
  /** Everything as text, to copy. */
  readonly text: string;
}

export interface Client {
  readonly state: State;
  readonly transport: Transport | null;
  /** Why the state is what it is. */
  readonly reason: string;
  /** The name under which this client is present; it stays the same over reconnects. */
  readonly id: string;
  room<T = any>(name: string, options?: RoomOptions): Room<T>;
  /** Publishes into a room without reading it. */
  publish(room: string, data: unknown, options?: PublishOptions): Promise<Published>;
  on(type: "state", listener: (event: StateEvent) => void): () => void;
  off(type: "state", listener: (event: StateEvent) => void): void;
  /** Tests what this network does; takes up to half a minute. `onFinding` hears of each result at once. */
  diagnose(onFinding?: (finding: Finding) => void): Promise<Report>;
  /** Allows these transports only; none: all. The connection changes over, nothing is lost. */
  use(transports?: readonly Transport[]): void;
  /** Cuts the connection and makes a new one. */
  reconnect(): void;
  /** Ends everything. Publishes that were not answered are rejected with `closed`; they may have happened. */
  close(): void;
}

export interface Options {
  /** For a gateway in front of the server: who this is. A function is asked again when a request was answered 401, or when it gave none for 10 s. */
  token?: string | (() => string | Promise<string>);
  /** The transports allowed. Default: all. */
  transports?: readonly Transport[];
  /** Name for presence, 1-64 bytes of `A-Z a-z 0-9 . _ ~ : @ -`. Default: made up. */
  client?: string;
  /** Bounds of the publishes that wait: 1000 messages and 1 MiB of JSON. */
  queue?: { messages?: number; bytes?: number };
  /** For where they are not global: Node before 22 has no WebSocket. */
  WebSocket?: any;
  fetch?: typeof fetch;
  /** Where to remember what works on this network; null: nowhere. Default: localStorage, if there is one. */
  storage?: { getItem(key: string): string | null; setItem(key: string, value: string): void } | null;
  /** For tests: time and chance. */
  clock?: {
    setTimeout(fn: () => void, ms: number): any;
    clearTimeout(id: any): void;
    /** Milliseconds that never jump. */
    now(): number;
    /** Unix milliseconds. */
    date(): number;
    random(): number;
  };
}

/**
 * Connects to the server at `url`, such as `https://example.org`, when the first room is asked for. In a page it may be
 * relative: `""` is where the page comes from. It throws `bad_url` for what is no address of a server.
 */
export declare function connect(url: string, options?: Options): Client;

export declare const CulvertError: { new (code: string, message: string): CulvertError; prototype: CulvertError };
export as namespace culvert;

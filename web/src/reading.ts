import type * as api from "./api";
import type { Reconnect } from "./codes";
import { Place, parseCursor } from "./cursor";
import { Emitter } from "./emitter";
import { Env, environment, params, unique } from "./env";
import { CulvertError, asError, foreign, none, refusal, told } from "./errors";
import { Habits } from "./habits";
import { Http } from "./http";
import type { Envelope, Owner, Pipe } from "./pipe";
import { Poller, Polled } from "./poll";
import { Queue, Sender } from "./queue";
import { Room, Rooms, Took } from "./room";
import type { Stream } from "./stream";
import { Timers } from "./timer";
import type { Ws } from "./ws";

/** Longer places go into bodies and commands: some paths refuse URLs of more than 2 KB. */
export const urlLimit = 1500;

/**
 * The rooms, and how what pipes bring gets to them. The rooms' places and the unanswered publishes are all the state of a
 * connection, so that any pipe can take over from any other.
 */
export abstract class Reading extends Emitter implements Owner, Polled, Rooms, Sender {
  state: api.State = "idle";
  readonly env: Env;
  readonly http: Http;
  readonly habits: Habits;
  readonly outbox: Queue;
  readonly rooms = new Map<string, Room>();
  readonly id: string;

  /** What carries messages now, and has shown that it does. */
  protected active?: Pipe;
  /** The WebSocket that is being tried. */
  protected ws?: Ws;
  /** The stream that is being tried. */
  protected flow?: Stream;
  protected poller: Poller;
  protected timers: Timers;

  private post?: boolean;
  /** Rooms that were left so far. */
  protected left = 0;
  private changing?: boolean;

  constructor(url: string, options: api.Options) {
    super();
    const env = (this.env = environment(options));
    this.http = new Http(env, options, url);
    this.id = options.client || unique(env).slice(0, 20);
    this.timers = new Timers(env);
    this.habits = new Habits(env, "culvert " + this.http.base);
    this.poller = new Poller(this, this.http, this.habits);
    this.outbox = new Queue(this, this.http, options.queue || {});
  }

  // What is done elsewhere.

  abstract send(list: string): Promise<any> | undefined;
  abstract unanswered(answered: () => boolean): unknown;
  abstract acknowledged(p: api.Published): void;
  abstract opened(pipe: Pipe): void;
  abstract proven(pipe: Pipe): void;
  abstract ended(pipe: Pipe, error: CulvertError, isTold?: boolean, reconnect?: Reconnect): void;
  abstract pollWorked(): boolean;
  abstract pollFailed(error: CulvertError, again: boolean): void;
  /** Tries everything, from nothing. */
  protected abstract start(reason: string, atOnce?: boolean): void;
  /** Opens another pipe of the kind in use, which takes over when it is proven. */
  protected abstract renewIn(ms: number): void;
  protected abstract dropAll(): void;
  /** The server refused for good. */
  protected abstract fail(error: CulvertError): void;

  protected get over() {
    return this.state == "closed" || this.state == "failed";
  }

  // Rooms

  room(name: string, options: api.RoomOptions = {}): Room {
    if (!/^(?!\.\.?$)[\w.~:@-]{1,200}$/.test(name)) throw refusal("bad_room");
    if (this.state == "closed") throw refusal("closed");
    let room = this.rooms.get(name);
    if (!room) {
      room = new Room(this, name, options);
      this.rooms.set(name, room);
      this.changed();
    }
    return room;
  }

  leave(room: Room, error?: CulvertError) {
    const { name } = room;
    this.rooms.delete(name);
    this.left++;
    room.end(error);
    for (const pipe of [this.ws, this.flow, this.active]) {
      if (!pipe || pipe == this.poller) continue;
      // What it still brings is not for who comes to this name next.
      pipe.broken.add(name);
      const { joined } = pipe as Ws;
      if (joined && joined.delete(name)) (pipe as Ws).command({ type: "unsubscribe", room: name }).catch(none);
    }
    this.changed();
    if (error) room.emit("state", { type: "state", state: "failed", transport: null, reason: error.message, error });
  }

  /**
   * Whether a refusal means one room, which then ends, and not all there is. What was asked for before a room was left
   * (`stale`) says nothing of one that was opened since.
   */
  protected refused(error: CulvertError, stale: boolean) {
    const room = this.rooms.get(error.room!);
    if (room && !stale) this.leave(room, error);
    return room || stale;
  }

  /** There are other rooms now; those asked for in one go are read together. */
  protected changed() {
    if (this.changing) return;
    this.changing = true;
    Promise.resolve().then(() => {
      this.changing = false;
      if (this.over) return;
      if (!this.rooms.size) {
        this.dropAll();
        return this.start("");
      }
      if (this.state == "idle") return this.start("a room");
      if (this.ws && this.ws.open) this.join(this.ws);
      const { active } = this;
      if (active && active.kind == "websocket") this.join(active as Ws);
      else if (active && active.kind == "sse") this.renewIn(0);
      else this.poller.again();
    });
  }

  publish(room: string, data: unknown, o?: api.PublishOptions) {
    return this.outbox.add(room, data, o);
  }

  // What there is to read

  /** Parameters of a read: rooms that start alike, and no more than fit into a URL where that matters. */
  target(limit = Infinity): { rooms: string; query: string } {
    const names: string[] = [];
    const cursors: string[] = [];
    let start: api.RoomOptions | undefined;
    let presence;
    let size = 0;
    this.rooms.forEach(({ name, cursor, options }) => {
      size += name.length + (cursor || "").length + 2;
      if (names.length && size > limit) return;
      if (cursor) cursors.push(cursor);
      else {
        start = start || options;
        if (start.last != options.last || start.from != options.from) return;
      }
      names.push(name);
      if (options.presence) presence = 1;
    });
    const { last, from } = start || ({} as api.RoomOptions);
    const heartbeat = this.habits.get("heartbeat") || null;
    return { rooms: names.join(), query: params({ client: this.id, cursor: cursors.join() || null, last, from, presence, heartbeat }) };
  }

  unplaced() {
    return [...this.rooms.values()].some((room) => !room.place);
  }

  async pollOnce(wait = 0, abort?: AbortController, stale: () => unknown = none): Promise<boolean> {
    const { rooms, query } = this.target();
    const { left } = this;
    if (!rooms) return false;
    const text = query + "&wait=" + wait;
    const post = this.post || rooms.length + text.length > urlLimit;
    let a: any;
    try {
      a = await this.http.json("/rooms/" + rooms + "/poll", post ? "" : text, post ? text : undefined, wait, abort);
      if (!a.messages || !a.cursor) throw foreign();
    } catch (x) {
      const e = asError(x);
      if (e.final && this.refused(e, left != this.left)) return true;
      // Some paths treat methods differently.
      if (!stale() && !e.final) this.post = !this.post;
      throw e;
    }
    if (stale() || left != this.left) return false;
    let fresh = false;
    for (const m of a.messages) fresh = this.take(m, this.poller) || fresh;
    fresh = this.stand(a.cursor, this.poller) || fresh;
    if (a.bye) throw told(a.bye, { retryAfter: a.bye.after_ms });
    return fresh;
  }

  // What came

  receive(m: Envelope, from: Pipe) {
    const { type } = m;
    if (type == "bye") {
      from.close();
      this.ended(from, told(m, { retryAfter: m.after_ms }), true, m.reconnect);
    } else if (type == "hello" || type == "heartbeat") {
      this.stand(m.cursor, from);
      if (from == this.ws) this.join(this.ws);
    } else if (/^(message|gap|presence)$/.test(type)) this.take(m, from);
  }

  /** Delivers an event; true where it was new. */
  protected take(m: any, from: Pipe): boolean {
    const room: Room | undefined = m && this.rooms.get(m.room);
    if (!room || (!room.place && from.broken.has(room.name))) return false;
    const took = room.take(m);
    if (took == Took.Hole) this.mend(room, from);
    return took == Took.Fresh;
  }

  /** Compares where a pipe says that it stands with what came through. */
  protected stand(cursor: unknown, from: Pipe): boolean {
    let fresh = false;
    parseCursor(cursor).forEach((place: Place, name) => {
      const room = this.rooms.get(name);
      if (!room || from.broken.has(name)) return;
      const took = room.stand(place);
      if (took == Took.Hole) this.mend(room, from);
      fresh = fresh || took == Took.Fresh;
    });
    return fresh;
  }

  /** A pipe went on after messages that did not come: it is asked for them. */
  protected mend(room: Room, pipe: Pipe) {
    // The next poll says where we are anyway.
    if (pipe == this.poller || pipe.broken.has(room.name)) return;
    pipe.broken.add(room.name);
    if (pipe.kind == "websocket") {
      this.subscribe(pipe as Ws, room);
    } else if (pipe == this.active) {
      this.pollOnce().catch(none);
      this.renewIn(500);
    }
  }

  // Rooms on a WebSocket

  /** Asks for the rooms that were not in its URL. */
  protected join(ws: Ws) {
    this.rooms.forEach((room) => {
      if (!ws.joined.has(room.name)) this.subscribe(ws, room);
    });
  }

  protected subscribe(ws: Ws, room: Room) {
    const { name, cursor, options } = room;
    const { last, from, presence } = options;
    const ours = () => this.rooms.get(name) == room;
    ws.joined.add(name);
    // It may know the room, from its URL or from before.
    if (ws.broken.has(name)) ws.command({ type: "unsubscribe", room: name }).catch(none);
    ws.command({ type: "subscribe", room: name, presence, cursor, last, from }, (reply) => {
      if (!ours()) return;
      ws.broken.delete(name);
      this.stand(reply.cursor, ws);
    }).catch((e: CulvertError) => {
      if ((ws != this.ws && ws != this.active) || !ours()) return;
      if (e.final) this.leave(room, e);
      else this.timers.set("join " + name, e.retryAfter || 1000, () => ours() && this.subscribe(ws, room));
    });
  }
}

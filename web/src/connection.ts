import type * as api from "./api";
import { Place, parseCursor } from "./cursor";
import type { Reconnect } from "./codes";
import { diagnose } from "./diagnose";
import { Emitter } from "./emitter";
import { Env, environment, onWake, params, unique } from "./env";
import { CulvertError, asError, foreign, told } from "./errors";
import { Habits } from "./habits";
import { Http } from "./http";
import type { Envelope, Owner, Pipe } from "./pipe";
import { Poller, Polled } from "./poll";
import { Queue, Sender } from "./queue";
import { Room, Rooms, Took } from "./room";
import { Stream, forms } from "./stream";
import { Timers, backoff } from "./timer";
import { Ws } from "./ws";

/** How long the WebSocket is alone before plain requests begin beside it. */
const headStart = 300;
/** How long a WebSocket is waited for before streams are tried. */
const wsPatience = 2000;
/**
 * When better transports are tried again, after the connection was made and after each other. The first time is for what
 * failed while the server was restarting, and leaves alone what was demoted.
 */
const probes = [5e3, 30e3, 120e3, 600e3, 1800e3];
/** A connection that held so long ends a series of failures. */
const stable = 3e3;
/** Longer places go into bodies and commands: some paths refuse URLs of more than 2 KB. */
const urlLimit = 1500;

const none = () => {};

/**
 * The connection: which pipe is used, when another one is tried, and what is believed of the network. The rooms' places
 * and the unanswered publishes are all its state, so that any pipe can take over from any other.
 */
export class Connection extends Emitter implements api.Client, Owner, Polled, Sender, Rooms {
  state: api.State = "idle";
  transport: api.Transport | null = null;
  reason = "";
  readonly env: Env;
  readonly http: Http;
  readonly habits: Habits;
  readonly queue: Queue;
  readonly rooms = new Map<string, Room>();
  readonly id: string;

  /** What carries messages now, and has shown that it does. */
  private active?: Pipe;
  /** What is being tried. */
  private ws?: Ws;
  private sse?: Stream;
  private poller: Poller;

  private allowed: readonly api.Transport[];
  private timers: Timers;
  private asleep: () => void;
  /** Failed attempts in a row. */
  private tries = 0;
  /** Each start from nothing ends what the one before had begun. */
  private round = 0;
  private climbing?: boolean;
  private climbed?: boolean;
  private probe = 0;
  private checking?: boolean;
  private changing?: boolean;
  private post?: boolean;
  /** What broke, until it is known whether the network did. */
  private suspect?: { pipe: Pipe; at: number };
  /** The name of what could not be opened, until then. */
  private blamed?: string;
  /** Why the better transports are not in use. */
  private why: { [name: string]: string } = {};

  constructor(url: string, options: api.Options) {
    super();
    const env = (this.env = environment(options));
    this.http = new Http(env, options, url);
    this.id = options.client || unique(env).slice(0, 20);
    this.allowed = options.transports || [];
    this.timers = new Timers(env);
    this.habits = new Habits(env, "culvert " + this.http.base);
    this.poller = new Poller(this, this.http, this.habits);
    this.queue = new Queue(this, this.http, options.queue || {});
    this.asleep = onWake((reason) => this.wake(reason));
  }

  diagnose(onFinding?: (f: api.Finding) => void) {
    return diagnose(this, onFinding);
  }

  // State

  private get over() {
    return this.state == "closed" || this.state == "failed";
  }

  private allows(t: api.Transport) {
    return !this.allowed.length || this.allowed.indexOf(t) >= 0;
  }

  /** Whether plain requests may carry messages. */
  private asks() {
    return this.allows("poll") || this.allows("sse");
  }

  private set(state: api.State, reason: string, more?: { error?: CulvertError; retryIn?: number }) {
    const transport = this.active ? this.active.kind : null;
    if (state == this.state && transport == this.transport && reason == this.reason) return;
    this.state = state;
    this.transport = transport;
    this.reason = reason;
    const event: api.StateEvent = Object.assign({ type: "state" as const, state, transport, reason }, more);
    this.emit("state", event);
    this.rooms.forEach((room) => room.emit("state", event));
  }

  private dropAll() {
    this.round++;
    this.climbing = this.climbed = this.checking = false;
    this.suspect = this.blamed = undefined;
    this.timers.clearAll();
    this.poller.close();
    for (const pipe of [this.ws, this.sse, this.active]) if (pipe) pipe.close();
    this.ws = this.sse = this.active = undefined;
  }

  /** The server refused for good. */
  private fail(error: CulvertError) {
    if (this.over) return;
    this.dropAll();
    this.set("failed", error.message, { error });
    this.queue.stop(error);
  }

  close() {
    const error = new CulvertError("closed", "closed; what was not answered may have happened");
    this.dropAll();
    this.asleep();
    this.set("closed", "closed");
    this.queue.stop(error);
    this.http.close();
    this.rooms.forEach((room) => room.end());
    this.rooms.clear();
  }

  use(transports: readonly api.Transport[] = []) {
    this.allowed = transports;
    this.reconnect();
  }

  reconnect() {
    if (this.state == "closed") return;
    this.dropAll();
    this.queue.stop();
    this.habits.forgive();
    this.tries = this.probe = 0;
    this.start("asked to");
  }

  // From nothing to a connection

  /** Tries everything: the WebSocket at once, plain requests a little later. */
  private start(reason: string, pollAfter?: number) {
    this.timers.clear("retry", "stable", "watch", "overlap", "probe");
    this.round++;
    this.climbing = this.climbed = false;
    if (this.over) return;
    if (!this.rooms.size) {
      this.set("idle", "no room to read");
      return this.queue.pump();
    }
    this.set("connecting", reason);
    // Whether a WebSocket that broke is to be demoted is known when plain requests have been answered.
    const doubt = this.asks() && this.suspect && this.habits.isShaky(this.suspect.pipe.name);
    if (this.allows("websocket") && !doubt && (!this.habits.isDemoted("websocket") || this.tries > 1)) this.openWs();
    if (!this.asks()) {
      if (!this.ws) this.wait(new CulvertError("network", this.why.websocket));
      return;
    }
    if (pollAfter == null) pollAfter = this.ws && !this.habits.get("bad websocket") ? headStart : 0;
    this.timers.set("poll", pollAfter, () => this.poller.start());
  }

  /** Out of reach: waits, and starts again. */
  private wait(error: CulvertError) {
    if (this.over || this.active) return;
    const retryIn = Math.max(backoff(this.env, ++this.tries), error.retryAfter || 0);
    this.timers.clear("poll", "stable");
    this.set("waiting", error.message, { error, retryIn });
    this.timers.set("retry", retryIn, () => this.start("trying again"));
  }

  private openWs() {
    if (this.ws) return;
    if (!this.env.WebSocket) {
      this.why.websocket = "no WebSocket here";
      return;
    }
    const { rooms, query } = this.target(urlLimit);
    this.ws = new Ws(this, this.http, this.http.address("/rooms/" + rooms + "/ws", query));
  }

  private openStream(form: number) {
    const { rooms, query } = this.target();
    if (this.sse) this.sse.close();
    return (this.sse = new Stream(this, this.http, form, rooms, query));
  }

  /** Parameters of a read: rooms that start alike, and no more than fit into a URL where that matters. */
  target(limit = Infinity): { rooms: string; query: string } {
    const names: string[] = [];
    const places: string[] = [];
    let start: api.RoomOptions | undefined;
    let size = 0;
    let presence: boolean | undefined;
    this.rooms.forEach(({ name, cursor, options }) => {
      size += name.length + (cursor || "").length + 2;
      if (names.length && size > limit) return;
      if (cursor) places.push(cursor);
      else if (!start) start = options;
      else if (start.last != options.last || start.from != options.from) return;
      names.push(name);
      presence = presence || options.presence;
    });
    const { last, from } = start || ({} as api.RoomOptions);
    const cursor = places.join() || null;
    const heartbeat = this.habits.get("heartbeat") || null;
    return { rooms: names.join(), query: params({ client: this.id, cursor, last, from, presence: presence ? 1 : null, heartbeat }) };
  }

  // Polled

  unplaced() {
    let some = false;
    this.rooms.forEach((room) => (some = some || !room.place));
    return some;
  }

  async pollOnce(wait: number, timeout: number, abort?: AbortController, stale = () => false): Promise<boolean> {
    const { rooms, query } = this.target();
    if (!rooms) return false;
    const text = query + "&wait=" + wait;
    const post = this.post || rooms.length + text.length > urlLimit;
    let a: any;
    try {
      a = await this.http.json("/rooms/" + rooms + "/poll", post ? "" : text, post ? text : undefined, timeout, abort, wait);
      if (a.protocol != 1 || !Array.isArray(a.messages) || typeof a.cursor != "string") throw foreign();
    } catch (e) {
      // Some paths treat methods differently.
      if (!stale() && !asError(e).final) this.post = !this.post;
      throw e;
    }
    if (stale()) return false;
    this.http.clock(a.time);
    let fresh = false;
    for (const m of a.messages) fresh = this.take(m, this.poller) || fresh;
    fresh = this.stand(a.cursor, this.poller) || fresh;
    if (a.bye) throw told(a.bye, { retryAfter: a.bye.after_ms }) || foreign();
    return fresh;
  }

  pollWorked() {
    this.timers.clear("poll");
    this.judgeSuspect();
    if (!this.rooms.size) return false;
    if (!this.active && this.allows("poll")) this.switchTo(this.poller);
    if (!this.unplaced()) this.climb();
    return this.active ? this.active == this.poller : this.unplaced();
  }

  pollFailed(error: CulvertError, again: boolean) {
    if (error.final) return this.fail(error);
    this.suspect = this.blamed = undefined;
    if (again) return;
    if (this.active == this.poller) this.active = undefined;
    if (!this.active) this.wait(error);
  }

  private judgeSuspect() {
    const { suspect, blamed, habits } = this;
    this.suspect = this.blamed = undefined;
    if (suspect) habits.died(suspect.pipe, false, suspect.at);
    if (blamed) habits.set("bad " + blamed, 1);
  }

  // Upwards

  /** Tries what is better than polls, or than what there is. */
  private async climb(demoted?: boolean) {
    if (this.climbing || this.climbed) return;
    this.climbing = true;
    const { round } = this;
    const gone = () => round != this.round || this.over;
    if (this.allows("websocket") && (demoted || !this.habits.isDemoted("websocket")) && !this.uses("websocket")) this.openWs();
    if (this.ws) await Promise.race([this.ws.verdict, this.pause("climb", Math.max(wsPatience, 4 * this.http.rtt))]);
    if (this.allows("sse")) {
      const best = this.habits.get("form") - 1;
      const rank = (form: number) => (form == best ? -1 : form + (this.habits.get("bad sse" + form) ? forms.length : 0));
      for (const form of forms.map((_, i) => i).sort((a, b) => rank(a) - rank(b))) {
        if (gone() || this.uses("websocket") || this.uses("sse")) break;
        if (!demoted && this.habits.isDemoted("sse" + form)) continue;
        const verdict = await this.openStream(form).verdict;
        if (verdict != "good" && !gone()) this.why.sse = "streams: " + verdict;
      }
    }
    if (gone()) return;
    this.climbing = false;
    this.climbed = true;
    if (this.active) this.explain();
    else if (!this.ws && !this.timers.has("retry")) this.wait(new CulvertError("network", this.why.sse || "nothing works"));
  }

  private pause(name: string, ms: number) {
    return new Promise<void>((done) => this.timers.set(name, ms, done));
  }

  private uses(kind: api.Transport) {
    return !!this.active && this.active.kind == kind;
  }

  /** The best there is may not be the best there can be. */
  private planProbe() {
    const { active } = this;
    if (!active || active.kind == "websocket" || this.timers.has("probe")) return;
    this.timers.set("probe", probes[Math.min(this.probe, probes.length - 1)], () => {
      this.climbed = false;
      this.climb(this.probe++ > 0);
      this.planProbe();
    });
  }

  proven(pipe: Pipe) {
    if (pipe == this.sse) this.habits.set("form", this.sse.form + 1);
    if (pipe == this.sse && this.uses("websocket")) return pipe.close();
    this.judgeSuspect();
    this.switchTo(pipe);
  }

  private switchTo(pipe: Pipe) {
    const before = this.active;
    this.active = pipe;
    this.habits.set("bad " + pipe.name, 0);
    delete this.why[pipe.kind];
    this.timers.clear("retry", "poll", "overlap", "check");
    if (before && before != pipe) before.close();
    if (pipe != this.poller) this.poller.close();
    if (pipe == this.sse) this.sse = undefined;
    if (pipe == this.ws) {
      this.ws = undefined;
      if (this.sse) this.sse.close();
      this.sse = undefined;
      this.timers.clear("probe");
    }
    if (!this.timers.has("stable")) this.timers.set("stable", stable, () => (this.tries = 0));
    if (pipe.kind == "sse" && pipe.broken.size) this.timers.set("renew", 500, () => this.renew());
    // A little before something on the way would strike.
    const life = this.habits.get("life " + pipe.kind);
    if (life) this.timers.set("overlap", life * 0.8, () => this.renew());
    this.explain();
    this.watch();
    this.planProbe();
    this.queue.pump();
  }

  /** Says what is in use and why nothing better is. */
  private explain() {
    const why = this.uses("websocket") ? [] : [this.why.websocket, this.uses("poll") && this.why.sse];
    this.set("connected", why.filter((w) => w).join("; ") || "proven");
  }

  /** Opens another pipe of the kind in use, which takes over when it is proven. */
  private async renew() {
    const { active } = this;
    if (!active || active == this.poller) return;
    if (active.kind == "websocket") return this.openWs();
    const { round } = this;
    try {
      while (this.unplaced()) await this.pollOnce(0, 5000 + this.http.patience);
    } catch (e) {}
    if (round != this.round || this.active != active || this.sse) return;
    const verdict = await this.openStream((active as Stream).form).verdict;
    if (verdict != "good" && this.active == active) this.lose(active, "streams: " + verdict, false);
  }

  // What pipes say

  /** Its hello comes with the answer to the handshake, or soon. */
  opened(ws: Pipe) {
    const took = this.env.now() - ws.since;
    if (this.timers.has("poll")) this.timers.set("poll", Math.min(headStart - took, Math.max(100, took)), () => this.poller.start());
  }

  receive(m: Envelope, from: Pipe) {
    switch (m.type) {
      case "message":
      case "gap":
      case "presence":
        this.take(m, from);
        break;
      case "hello":
        this.stand(m.cursor, from);
        if (from == this.ws) this.join(this.ws);
        break;
      case "heartbeat":
        this.stand(m.cursor, from);
        break;
      case "bye":
        from.close();
        this.ended(from, told(m, { retryAfter: m.after_ms }) || foreign(), true, m.reconnect);
    }
  }

  /** Delivers an event; true where it was new. */
  private take(m: any, from: Pipe): boolean {
    const room: Room | undefined = m && this.rooms.get(m.room);
    if (!room) return false;
    const took = room.take(m);
    if (took == Took.Hole) this.mend(room, from);
    return took == Took.Fresh;
  }

  /** Compares where a pipe says that it stands with what came through. */
  private stand(cursor: unknown, from: Pipe): boolean {
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
  private mend(room: Room, pipe: Pipe) {
    // The next poll says where we are anyway.
    if (pipe == this.poller || pipe.broken.has(room.name)) return;
    pipe.broken.add(room.name);
    if (pipe.kind == "websocket") {
      (pipe as Ws).command({ type: "unsubscribe", room: room.name }).catch(none);
      this.subscribe(pipe as Ws, room);
    } else if (pipe == this.active) {
      this.pollOnce(0, 5000).catch(none);
      if (!this.timers.has("renew")) this.timers.set("renew", 500, () => this.renew());
    }
  }

  ended(pipe: Pipe, error: CulvertError, isTold?: boolean, reconnect?: Reconnect) {
    if (pipe == this.ws) this.ws = undefined;
    if (pipe == this.sse) this.sse = undefined;
    if (reconnect == "never") {
      if (!/^token_/.test(error.code) || !this.http.expired()) return this.fail(error);
      // With another token, at once; and if that is no good either, not at once.
      if (pipe == this.active) this.active = undefined;
      if (this.active) return;
      return this.tries++ ? this.wait(error) : this.start("another token");
    }
    this.why[pipe.kind] = error.message;
    if (pipe != this.active) {
      // It was only tried.
      if (!isTold) this.blamed = pipe.name;
      if (this.active) return this.judgeSuspect();
      if ((isTold && error.retryAfter) || (pipe.kind == "websocket" && !this.asks())) this.wait(error);
      else if (this.timers.has("poll")) this.poller.start();
      return;
    }
    this.active = undefined;
    const age = this.env.now() - pipe.since;
    if (age > 15e3) this.probe = 0;
    if (isTold && (reconnect != "now" || age < 5000)) {
      this.round++;
      return this.wait(error);
    }
    if (!isTold) this.suspect = { pipe, at: this.env.now() };
    this.start(error.message, 0);
  }

  // Rooms on a WebSocket

  /** Asks for the rooms that were not in its URL. */
  private join(ws: Ws) {
    this.rooms.forEach((room) => {
      if (!ws.joined.has(room.name)) this.subscribe(ws, room);
    });
  }

  private subscribe(ws: Ws, room: Room) {
    const { name, cursor, options } = room;
    const { last, from, presence } = options;
    ws.joined.add(name);
    ws.command({ type: "subscribe", room: name, presence, cursor, last, from }).then(
      (reply) => {
        ws.broken.delete(name);
        this.stand(reply.cursor, ws);
      },
      (e: CulvertError) => {
        if (ws != this.ws && ws != this.active) return;
        if (e.final) this.fail(e);
        else this.timers.set("join " + name, e.retryAfter || 1000, () => ws.joined.has(name) && this.rooms.get(name) == room && this.subscribe(ws, room));
      },
    );
  }

  // Liveness

  private watch() {
    const { active } = this;
    if (!active || active == this.poller) return this.timers.clear("watch");
    const due = () => active.heard + active.heartbeat * 1000 + Math.max(3 * this.http.rtt, 2000) - this.env.now();
    this.timers.set("watch", Math.max(due(), 10), () => {
      if (active != this.active) return;
      if (due() > 0) this.watch();
      else this.check("silent for " + Math.round((this.env.now() - active.heard) / 1000) + " s");
    });
  }

  /**
   * Races a poll against the pipe in use: if the poll is answered and the pipe has said nothing (or what `fine` asks
   * for is not so), it is lost.
   */
  private async check(why: string, fine?: () => boolean, hurry?: boolean) {
    const pipe = this.active;
    if (!pipe || this.checking || this.over) return;
    if (pipe == this.poller) return this.poller.again();
    const { env } = this;
    const began = env.now();
    const well = fine || (() => pipe.heard > began);
    this.checking = true;
    if (pipe.kind == "websocket") (pipe as Ws).command({ type: "ping" }).catch(none);
    let error: CulvertError | undefined;
    try {
      await this.pollOnce(0, 5000 + this.http.patience);
    } catch (e) {
      error = asError(e);
    }
    // A poll may be faster than a pong.
    if (!error && !hurry && !well()) await this.pause("grace", Math.max(2 * this.http.rtt, 300) + began - env.now());
    this.checking = false;
    if (pipe != this.active || this.over) return;
    if (well()) this.watch();
    else if (error && error.final) this.fail(error);
    else this.lose(pipe, why, !error);
  }

  /** A pipe in use is given up. */
  private lose(pipe: Pipe, why: string, reachable: boolean) {
    pipe.close();
    this.active = undefined;
    this.why[pipe.kind] = why;
    if (reachable) this.habits.died(pipe, true, this.env.now());
    this.start(why, 0);
  }

  /** The network may be another one, or time has passed unseen. */
  private wake(reason: string) {
    const { active } = this;
    if (this.over || !this.rooms.size) return;
    if (reason == "online" || reason == "change") {
      this.habits.forgive();
      this.probe = 0;
      this.climbed = false;
    }
    if (!active) {
      if (this.timers.has("retry")) this.start(reason);
    } else if (active.kind != "sse") {
      this.check(reason);
    } else if (active.heard + 5000 < this.env.now()) {
      // A stream cannot be asked whether it is there.
      this.renew();
    }
    if (active && active.kind != "websocket" && !this.climbed) this.climb(true);
  }

  // Sender

  send(list: string) {
    if (this.uses("websocket")) return (this.active as Ws).text((ref) => '{"type":"publish","ref":' + ref + ',"messages":' + list + "}");
    return this.active || !this.rooms.size ? this.http.json("/publish", "", list) : undefined;
  }

  unanswered(answered: () => boolean) {
    this.check("a publish was not answered", this.uses("websocket") ? answered : undefined);
  }

  /** What was published into a room that is read must come through. */
  acknowledged(p: api.Published) {
    const room = this.rooms.get(p.room);
    const pipe = this.active;
    if (!room || !pipe || p.offset == null || this.timers.has("check")) return;
    this.timers.set("check", (this.env.now() - this.http.hedged < 1000 ? 300 : 1000) + 2 * this.http.rtt, () => {
      if (pipe == this.active && !room.passed(p)) this.check("a message did not come through", undefined, true);
    });
  }

  // Rooms

  room(name: string, options: api.RoomOptions = {}): Room {
    if (!/^(?!\.\.?$)[\w.~:@-]{1,200}$/.test(name))
      throw new CulvertError("bad_room", "not a room name", { final: true, allowed: "1-200 bytes of A-Z a-z 0-9 . _ ~ : @ -" });
    if (this.state == "closed") throw new CulvertError("closed", "closed");
    let room = this.rooms.get(name);
    if (!room) {
      room = new Room(this, name, options);
      this.rooms.set(name, room);
      this.changed();
    }
    return room;
  }

  leave(room: Room) {
    this.rooms.delete(room.name);
    room.end();
    for (const pipe of [this.ws, this.active]) {
      if (pipe && pipe.kind == "websocket" && (pipe as Ws).joined.delete(room.name)) (pipe as Ws).command({ type: "unsubscribe", room: room.name }).catch(none);
    }
    this.changed();
  }

  /** There are other rooms now; those asked for in one go are read together. */
  private changed() {
    if (this.changing) return;
    this.changing = true;
    Promise.resolve().then(() => {
      this.changing = false;
      if (this.over) return;
      if (!this.rooms.size) {
        this.dropAll();
        return this.start("");
      }
      if (this.state == "idle") return this.start("the first room");
      if (this.ws && this.ws.open) this.join(this.ws);
      const { active } = this;
      if (active && active.kind == "websocket") this.join(active as Ws);
      else if (active && active.kind == "sse") this.renew();
      else this.poller.again();
    });
  }

  publish(room: string, data: unknown, o?: api.PublishOptions) {
    return this.queue.add(room, data, o);
  }
}

import type * as api from "./api";
import type { Reconnect } from "./codes";
import { diagnose } from "./diagnose";
import { onWake } from "./env";
import { CulvertError, refusal } from "./errors";
import { Liveness } from "./liveness";
import type { Pipe } from "./pipe";
import { urlLimit } from "./reading";
import { Stream, forms } from "./stream";
import { backoff } from "./timer";
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

/** The connection: which pipe is used, when another one is tried, and what is believed of the network. */
export class Connection extends Liveness implements api.Client {
  transport: api.Transport | null = null;
  reason = "";

  private allowed: readonly api.Transport[];
  private asleep: () => void;
  /** Failed attempts in a row. */
  private tries = 0;
  /** Connections in a row that broke as soon as they were made, while no plain request was answered. */
  private brief = 0;
  /** Each start from nothing ends what the one before had begun. */
  private starts = 0;
  private climbing?: boolean;
  /** What is to be learned from what broke, or could not be opened, once it is known that the network is there. */
  private doubts: (() => void)[] = [];

  constructor(url: string, options: api.Options) {
    super(url, options);
    this.allowed = options.transports || [];
    this.asleep = onWake((reason) => this.wake(reason));
  }

  diagnose(onFinding?: (f: api.Finding) => void) {
    return diagnose(this, onFinding);
  }

  // State

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

  protected dropAll() {
    this.starts++;
    this.climbing = this.climbed = this.checking = false;
    this.doubts = [];
    this.timers.clearAll();
    this.poller.close();
    for (const pipe of [this.ws, this.flow, this.active]) if (pipe) pipe.close();
    this.ws = this.flow = this.active = undefined;
  }

  /** The server refused for good. */
  protected fail(error: CulvertError) {
    if (this.over) return;
    this.dropAll();
    this.outbox.stop(error);
    this.rooms.forEach((room) => {
      room.end(error);
      room.closed = false; // reconnect() goes on with it
    });
    // Last: a listener may call reconnect().
    this.set("failed", error.message, { error });
  }

  close() {
    const error = refusal("closed");
    this.dropAll();
    this.asleep();
    this.set("closed", "closed");
    this.outbox.stop(error);
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
    this.outbox.stop();
    this.habits.forgive();
    this.tries = this.probe = 0;
    this.state = "idle"; // and failed no more
    this.start("asked to");
  }

  // From nothing to a connection

  /** Tries everything: the WebSocket at once, plain requests a little later, or at once, too. */
  protected start(reason: string, atOnce?: boolean) {
    this.timers.stop("retry", "stable", "watch", "renew", "probe");
    this.starts++;
    this.climbing = this.climbed = false;
    if (this.over) return;
    if (!this.rooms.size) {
      this.set("idle", "no room");
      return this.outbox.pump();
    }
    this.set("connecting", reason);
    // A listener may have closed the client.
    if (this.over) return;
    // Whether a WebSocket that broke is to be demoted is known when plain requests have been answered.
    const doubt = this.asks() && this.doubts.length && this.habits.isShaky("websocket");
    if (this.allows("websocket") && !doubt && (!this.habits.isDemoted("websocket") || this.tries > 1)) this.openWs();
    if (!this.asks()) {
      if (!this.ws) this.retryLater(new CulvertError("network", this.why.websocket));
      return;
    }
    const after = !atOnce && this.ws && !this.habits.get("bad websocket") ? headStart : 0;
    this.timers.set("poll", after, () => this.poller.start());
  }

  /** Out of reach: waits, and starts again. */
  private retryLater(error: CulvertError) {
    if (this.over || this.active) return;
    const retryIn = Math.max(backoff(this.env, ++this.tries), error.retryAfter || 0);
    // A WebSocket that is refused for its token does not say so, as plain requests do.
    if (!this.asks()) this.http.forget();
    this.timers.stop("poll", "stable");
    this.timers.set("retry", retryIn, () => this.start("again"));
    this.set("waiting", error.message, { error, retryIn });
  }

  private openWs() {
    if (this.ws) return;
    const { rooms, query } = this.target(urlLimit);
    this.ws = new Ws(this, this.http, this.http.address("/rooms/" + rooms + "/ws", query));
  }

  private openStream(form: number) {
    const { rooms, query } = this.target();
    if (this.flow) this.flow.close();
    return (this.flow = new Stream(this, this.http, form, rooms, query));
  }

  // Polled

  pollWorked() {
    this.timers.stop("poll");
    this.brief = 0;
    this.learn();
    if (!this.rooms.size) return false;
    if (!this.active && this.allows("poll")) this.switchTo(this.poller);
    if (!this.unplaced()) this.climb();
    return this.active ? this.active == this.poller : this.unplaced();
  }

  pollFailed(error: CulvertError, again: boolean) {
    if (error.final) return this.fail(error);
    this.doubts = [];
    if (again) return;
    if (this.active == this.poller) this.active = undefined;
    if (!this.active) this.retryLater(error);
  }

  private learn() {
    this.doubts.splice(0).forEach((f) => f());
  }

  // Upwards

  /** Tries what is better than polls, or than what there is. */
  protected async climb(demoted?: boolean) {
    if (this.climbing || this.climbed || this.over) return;
    this.climbing = true;
    const { starts } = this;
    const gone = () => starts != this.starts || this.over;
    if (this.allows("websocket") && (demoted || !this.habits.isDemoted("websocket")) && !this.uses("websocket")) this.openWs();
    if (this.ws) await Promise.race([this.ws.verdict, this.timers.pause("climb", Math.max(wsPatience, 4 * this.http.roundTrip))]);
    if (this.allows("sse")) {
      // What failed here comes last.
      const rank = (form: number) => form + forms.length * this.habits.get("bad sse" + form);
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
    if (this.active) this.explain(), this.planProbe();
    else if (!this.ws && !this.timers.has("retry")) this.retryLater(new CulvertError("network", this.why.sse || "nothing works"));
  }

  /** The best there is may not be the best there can be. */
  private planProbe() {
    const { active } = this;
    if (!active || active.kind == "websocket" || this.timers.has("probe")) return;
    this.timers.set("probe", probes[Math.min(this.probe, probes.length - 1)], () => {
      if (this.climbing) return; // Its end plans the next one.
      this.climbed = false;
      this.climb(this.probe++ > 0);
      this.planProbe();
    });
  }

  proven(pipe: Pipe) {
    if (pipe == this.flow && this.uses("websocket")) return pipe.close();
    this.learn();
    this.switchTo(pipe);
  }

  private switchTo(pipe: Pipe) {
    const before = this.active;
    this.active = pipe;
    this.habits.set("bad " + pipe.name, 0);
    delete this.why[pipe.kind];
    this.timers.stop("retry", "poll", "renew", "check");
    if (before && before != pipe) before.close();
    if (pipe != this.poller) this.poller.close();
    this.tried(pipe);
    if (this.uses("websocket")) {
      if (this.flow) this.flow.close();
      this.flow = undefined;
      this.why = {};
      this.timers.stop("probe");
    }
    if (!this.timers.has("stable")) this.timers.set("stable", stable, () => (this.tries = this.brief = 0));
    // A little before something on the way would strike, or soon where it lacks something.
    const life = this.habits.get("life " + pipe.kind) * 0.8;
    const lacks = pipe.kind == "sse" && (pipe.broken.size || (pipe as Stream).rooms != [...this.rooms.keys()].join());
    const due = lacks ? 500 : life;
    if (due) this.renewIn(due);
    this.explain();
    this.watch();
    this.planProbe();
    this.outbox.pump();
  }

  /** It is not being tried any more. */
  private tried(pipe: Pipe) {
    if (pipe == this.ws) this.ws = undefined;
    if (pipe == this.flow) this.flow = undefined;
  }

  /** Says what is in use and why nothing better is. */
  private explain() {
    this.set("connected", Object.values(this.why).join("; ") || "proven");
  }

  protected renewIn(ms: number) {
    this.timers.set("renew", ms, () => this.renew());
  }

  private async renew() {
    const { active } = this;
    if (!active || active == this.poller) return;
    if (active.kind == "websocket") return this.openWs();
    const { starts, left } = this;
    try {
      while (this.unplaced() && (await this.pollOnce()));
    } catch (e) {}
    if (starts != this.starts || this.active != active || this.flow) return;
    const verdict = await this.openStream((active as Stream).form).verdict;
    // Where a room was left meanwhile, or refused, this one is not what is wanted any more.
    if (verdict != "good" && this.active == active && left == this.left) this.lose(active, "streams: " + verdict, false);
  }

  // What becomes of pipes

  /** Its hello comes with the answer to the handshake, or soon. */
  opened(ws: Pipe) {
    const took = this.env.now() - ws.worksSince;
    if (this.timers.has("poll")) this.timers.set("poll", Math.min(headStart - took, Math.max(100, took)), () => this.poller.start());
  }

  ended(pipe: Pipe, error: CulvertError, isTold?: boolean, reconnect?: Reconnect) {
    this.tried(pipe);
    if (reconnect == "never") {
      if (!this.refused(error, pipe.broken.has(error.room!))) return this.fail(error);
      if (pipe == this.active) this.active = undefined;
      if (!this.active) this.start(error.message);
      return;
    }
    this.why[pipe.kind] = error.message;
    if (pipe != this.active) {
      // It was only tried.
      if (!isTold) this.doubts.push(() => this.habits.set("bad " + pipe.name, 1));
      if (this.active) return this.learn();
      if ((isTold && error.retryAfter) || (pipe.kind == "websocket" && (this.climbed || !this.asks()))) this.retryLater(error);
      else if (this.timers.has("poll")) this.poller.start();
      return;
    }
    this.active = undefined;
    const at = this.env.now();
    const age = at - pipe.worksSince;
    if (age > 15e3) this.probe = 0;
    if (!isTold) this.doubts.push(() => this.habits.died(pipe, false, at));
    if (isTold ? reconnect != "now" || age < 5000 : age < 1000 && ++this.brief > 3) {
      this.starts++;
      return this.retryLater(error);
    }
    this.start(error.message, true);
  }
}

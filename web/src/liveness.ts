import type * as api from "./api";
import { CulvertError, asError, none } from "./errors";
import type { Pipe } from "./pipe";
import { Reading } from "./reading";
import type { Ws } from "./ws";

/** Whether what is in use still carries: by its heartbeats, by what becomes of publishes, and when the page wakes up. */
export abstract class Liveness extends Reading {
  /** Better transports have been tried. */
  protected climbed?: boolean;
  /** How often they were tried again. */
  protected probe = 0;
  /** What is being looked after; it may have been replaced meanwhile. */
  protected checking?: Pipe | false;
  /** Whether the publishes under way went over a WebSocket. */
  private framed?: boolean;
  /** The last publish that was answered. */
  private newest?: api.Published;
  /** Why the better transports are not in use. */
  protected why: { [name: string]: string } = {};

  /** Tries what is better than what there is. */
  protected abstract climb(demoted?: boolean): void;

  protected watch() {
    const { active } = this;
    if (!active || active == this.poller) return;
    const due = () => active.heard + active.heartbeat * 1000 + Math.max(3 * this.http.roundTrip, 2000) - this.env.now();
    this.timers.set("watch", Math.max(due(), 10), () => {
      if (active != this.active) return;
      if (due() > 0) this.watch();
      else this.check("silent for " + Math.round((this.env.now() - active.heard) / 1000) + " s");
    });
  }

  /**
   * Races a poll against the pipe in use: if the poll is answered and the pipe has said nothing (or what `fine` asks
   * for is not so; it is told whether the poll was answered), it is lost; where there is a hurry, it had its time already.
   */
  protected async check(why: string, fine?: (polled: boolean) => boolean, hurry?: boolean) {
    const pipe = this.active;
    if (!pipe || this.checking == pipe || this.over) return;
    if (pipe == this.poller) return this.poller.again();
    const { env } = this;
    const began = env.now();
    let polled = false;
    const well = () => (fine ? fine(polled) : pipe.heard > began);
    this.checking = pipe;
    let raced = 0;
    if (pipe.kind == "websocket") {
      (pipe as Ws).command({ type: "ping" }).catch(none);
      // Over HTTP/2 the connection for all requests may be as dead. A WebSocket makes another one.
      this.timers.set("race", Math.max(2 * this.http.roundTrip, 500), () => {
        if (well()) return;
        raced = env.now();
        this.renewIn(0);
      });
    }
    let error: CulvertError | undefined;
    try {
      await this.pollOnce();
      polled = true;
    } catch (e) {
      error = asError(e);
    }
    // A poll may be faster than a pong.
    if (polled && !hurry && !well()) await this.timers.pause("grace", Math.max(2 * this.http.roundTrip, 300) + began - env.now());
    if (this.checking == pipe) this.checking = false;
    if (this.over) return;
    if (pipe != this.active) {
      if (raced && pipe.heard <= began && this.uses("websocket")) this.habits.died(pipe, true, raced);
      return;
    }
    this.timers.stop("race");
    if (well()) this.watch();
    else if (error && error.final) this.fail(error);
    else this.lose(pipe, why, polled);
  }

  /** A pipe in use is given up. */
  protected lose(pipe: Pipe, why: string, reachable: boolean) {
    pipe.close();
    this.active = undefined;
    this.why[pipe.kind] = why;
    if (reachable) this.habits.died(pipe, true, this.env.now());
    this.start(why, true);
  }

  /** The network may be another one, or time has passed unseen. */
  protected wake(reason: string) {
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
      this.renewIn(0);
    }
    if (active && active.kind != "websocket") this.climb(true);
  }

  // Publishes

  send(list: string) {
    if ((this.framed = this.uses("websocket"))) return (this.active as Ws).sendText('{"type":"publish","messages":' + list + "}");
    return this.active || !this.rooms.size ? this.http.json("/publish", "", list) : undefined;
  }

  unanswered(answered: () => boolean) {
    // What a path does to requests is no fault of a WebSocket that was made meanwhile, nor, while others are answered, of a stream.
    const better = !this.framed && this.uses("websocket");
    if (!better) this.check("no answer to a publish", (polled) => (this.framed ? answered() : polled));
    return better;
  }

  /**
   * What was published into a room that is read must come through what is in use (another pipe ends the wait). One is
   * looked for at a time, and then the newest: of what was published meanwhile it comes last.
   */
  acknowledged(p: api.Published) {
    const room = this.rooms.get(p.room);
    if (!room || p.offset == null) return;
    this.newest = p;
    if (this.timers.has("check")) return;
    this.timers.set("check", (this.env.now() - this.http.hedged < 1000 ? 300 : 1000) + 2 * this.http.roundTrip, () => {
      if (!room.passed(p)) this.check("a message is missing", undefined, true);
      else if (p != this.newest) this.acknowledged(this.newest!);
    });
  }

  protected uses(kind: api.Transport) {
    return !!this.active && this.active.kind == kind;
  }
}

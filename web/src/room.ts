import type * as api from "./api";
import { Place, after, parseCursor, parsePlace, same } from "./cursor";
import { params } from "./env";
import { CulvertError, refusal } from "./errors";
import { Emitter } from "./emitter";
import type { Http } from "./http";
import type { Envelope } from "./pipe";
import type { Queue } from "./queue";

/** What became of an event: it was new; it was there before; what comes before it is missing. */
export const enum Took {
  Fresh,
  Repeat,
  Hole,
}

/** Whom a room asks. */
export interface Rooms {
  readonly http: Http;
  readonly outbox: Queue;
  leave(room: Room): void;
}

const pileLimit = 10000;
const ringSize = 1000;

/** One room: where its reader stands, and who listens. */
export class Room extends Emitter implements api.Room {
  place?: Place;
  closed = false;
  private fault?: CulvertError;
  /** Ids of what has no offset, for it may come over two pipes. */
  private seen = new Set<string>();
  private ends = new Set<(e?: CulvertError) => void>();

  constructor(private owner: Rooms, readonly name: string, readonly options: api.RoomOptions) {
    super();
    const { cursor: text, last, from } = options;
    // The server would refuse it together with the rooms that are read beside this one.
    if ((last != null && !/^(\d{1,3}|1000)$/.test(last as any)) || (from && from != "start")) throw refusal("bad_parameter");
    if (text == null) return;
    const places = parseCursor(text);
    this.place = parsePlace(text) || places.get(name);
    // A place that is not understood is never taken for now; one of other rooms alone says nothing of this one.
    if (!this.place && !places.size) throw refusal("bad_cursor");
  }

  get cursor() {
    return this.place && this.name + "=" + this.place.text;
  }

  /** Takes a message, gap or presence event. */
  take(m: Envelope): Took {
    const { place: at, name, seen } = this;
    const there = m.type == "presence";
    if (there && !this.options.presence) return Took.Repeat;
    if (there || m.ephemeral) {
      const id = there ? m.event + m.client + m.since : m.id;
      if (seen.has(id)) return Took.Repeat;
      seen.add(id);
      if (seen.size > ringSize) seen.delete(seen.values().next().value!);
    } else {
      const gap = m.type == "gap";
      const next = gap ? parseCursor(m.to).get(name) : parsePlace(m.epoch + "." + m.offset + "." + m.id);
      if (!next) return Took.Repeat;
      if (at) {
        const follows = at.offset ? next.epoch == at.epoch && next.offset == at.offset + 1 : next.offset == 1;
        // A gap is for who stands at its beginning; a pipe that lags behind another one has gaps of its own.
        if (!(gap ? same(at, parseCursor(m.from).get(name)) : follows))
          return same(at, next) || after(at, next) ? Took.Repeat : Took.Hole;
      }
      this.place = next;
    }
    this.emit(m.type, m);
    return Took.Fresh;
  }

  /** Whether the reader is past what was published. */
  passed(p: api.Published): boolean {
    return !!this.place && !after(p, this.place);
  }

  /** Takes where a pipe says that it stands. */
  stand(p: Place): Took {
    const at = this.place;
    if (at && !same(at, p)) return after(p, at) ? Took.Hole : Took.Repeat;
    this.place = p;
    return at && at.text == p.text ? Took.Repeat : Took.Fresh;
  }

  publish(data: unknown, o?: api.PublishOptions) {
    return this.owner.outbox.add(this.name, data, o);
  }

  history(o: api.HistoryOptions = {}): Promise<api.HistoryPage> {
    return this.ask("/history", o);
  }

  presence(limit?: number): Promise<api.Presence> {
    return this.ask("/presence", { limit });
  }

  private ask(what: string, o: object) {
    return this.owner.http.json("/rooms/" + this.name + what, params(o));
  }

  close() {
    if (!this.closed) this.owner.leave(this);
  }

  /** Ends the iterators, with an error where there is one. */
  end(e?: CulvertError) {
    this.closed = true;
    this.fault = e;
    this.ends.forEach((f) => f(e));
  }

  [Symbol.asyncIterator](): AsyncIterator<any, undefined> {
    const pile: any[] = [];
    let error = this.closed ? this.fault : this.owner.outbox.stopped;
    let over = this.closed || !!error;
    let done: () => void;
    let more: Promise<void>;
    const wake = () => {
      if (done) done();
      more = new Promise((f) => (done = f));
    };
    wake();
    const finish = (e?: CulvertError) => {
      over = true;
      error = error || e;
      undo.forEach((f) => f());
      this.ends.delete(finish);
      wake();
    };
    const add = (value: any) => {
      if (pile.push(value) > pileLimit) finish(refusal("iterator_full"));
      wake();
    };
    const undo = over ? [] : [this.on("message", add), this.on("gap", add)];
    if (!over) this.ends.add(finish);
    return {
      next: async (): Promise<any> => {
        while (!pile.length && !over) await more;
        if (pile.length) return { done: false, value: pile.shift() };
        if (error) throw error;
        return { done: true, value: undefined };
      },
      return: async () => {
        pile.length = 0;
        finish();
        return { done: true, value: undefined };
      },
    };
  }
}

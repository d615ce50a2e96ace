import type * as api from "./api";
import { afterStatus } from "./codes";
import { CulvertError, told } from "./errors";
import { Http, escape } from "./http";
import { Timers, backoff } from "./timer";
import type { Ws } from "./ws";

/** A message that was not answered yet. */
interface Item {
  room: string;
  /** The data as JSON. */
  data: string;
  key: string;
  ephemeral: boolean;
  /** The whole as an element of a batch. */
  text: string;
  ok: (p: api.Published) => void;
  no: (e: CulvertError) => void;
}

/** What the queue asks of the connection. */
export interface Sender {
  /** The WebSocket to publish over, or plain requests; undefined: not now. */
  route(): Ws | "http" | undefined;
  /** A batch has waited long for its answer. */
  unanswered(answered: () => boolean): void;
  acknowledged(p: api.Published): void;
}

const batchMessages = 100;
const batchBytes = 64e3;
/** Servers close a WebSocket at a frame of 1 MiB. */
const messageBytes = 900e3;
/** An answer takes no longer than this, and what a slow line (50 KB/s) needs for the batch. */
const patience = 3000;

/**
 * Publishes, in order, one batch at a time. A batch is sent again, over whatever there is then and with the same keys,
 * until it is answered: the server lets each key take effect once.
 */
export class Queue {
  private items: Item[] = [];
  private bytes = 0;
  private flight?: Item[];
  private attempt = 0;
  /** Batches are as large as the path takes. */
  private most = batchMessages;
  private mostBytes = batchBytes;
  /** So many messages go one by one, to find the one that is refused. */
  private single = 0;
  private count = 0;
  private prefix: string;
  private stopped?: CulvertError;
  private timers: Timers;

  constructor(private sender: Sender, private http: Http, private bounds: NonNullable<api.Options["queue"]>) {
    const { clock } = http.env;
    this.timers = new Timers(http.env);
    this.prefix = clock.date().toString(36) + clock.random().toString(36).slice(2) + clock.random().toString(36).slice(2) + ".";
  }

  get length() {
    return this.items.length;
  }

  add(room: string, value: unknown, o: api.PublishOptions = {}): Promise<api.Published> {
    const added = new Promise<api.Published>((ok, no) => {
      const refuse = (code: string, message: string, allowed?: string) => no(new CulvertError(code, message, { final: true, allowed }));
      if (this.stopped) return no(this.stopped);
      let data: string | undefined;
      try {
        data = JSON.stringify(value);
      } catch (e) {}
      if (data === undefined) return refuse("bad_json", "the data is not JSON");
      const { messages = 1000, bytes = 1 << 20 } = this.bounds;
      if (data.length > messageBytes) return refuse("message_too_large", "the message is too large");
      if (this.items.length >= messages || this.bytes + data.length > bytes)
        return refuse("queue_full", "too much waits to be published", messages + " messages and " + bytes + " bytes");
      const key = o.key == null ? this.prefix + ++this.count : String(o.key);
      const ephemeral = !!o.ephemeral;
      const head = JSON.stringify({ room, key, ephemeral: ephemeral || undefined });
      this.bytes += data.length;
      this.items.push({ room, data, key, ephemeral, text: head.slice(0, -1) + ',"data":' + data + "}", ok, no });
    });
    // Who does not care for the result does not care for its error either.
    added.catch(() => {});
    this.pump();
    return added;
  }

  /** Sends what waits, if nothing is under way. */
  pump() {
    if (this.flight || !this.items.length || this.timers.has("retry")) return;
    const route = this.sender.route();
    if (!route) return;
    // Where a path does not let a batch through, it may let through one message at its room's own address.
    const alone = route == "http" && this.attempt % 3 == 2;
    const most = this.single || alone ? 1 : this.most;
    let size = 0;
    const end = this.items.findIndex((item, i) => i > 0 && (i >= most || (size += item.text.length) + this.items[0].text.length > this.mostBytes));
    const batch = (this.flight = end < 0 ? this.items.slice() : this.items.slice(0, end));
    const list = "[" + batch.map((item) => item.text).join() + "]";
    const ask = (after: number) =>
      this.timers.set("unanswered", after, () => {
        ask(patience);
        this.sender.unanswered(() => this.flight != batch);
      });
    ask(Math.max(patience, 2 * this.http.rtt) + list.length / 50);
    const answer =
      route != "http" ? route.text((ref) => '{"type":"publish","ref":' + ref + ',"messages":' + list + "}") : alone ? this.one(batch[0]) : this.http.json("/publish", "", list);
    answer.then(
      (a) => this.answered(batch, a.results),
      (e) => this.failed(batch, e, route),
    );
  }

  private async one(item: Item) {
    const query = "key=" + escape(item.key) + (item.ephemeral ? "&ephemeral=1" : "");
    return { results: [Object.assign(await this.http.json("/rooms/" + item.room, query, item.data), { status: 200 })] };
  }

  private answered(batch: Item[], results: any) {
    if (this.stopped) return;
    if (!Array.isArray(results) || results.length != batch.length) return this.failed(batch, new CulvertError("bad_answer", "an answer that is not Culvert's"), "http");
    let again: CulvertError | undefined;
    batch.forEach((item, i) => {
      const r = results[i] || {};
      if (r.status < 300 && typeof r.id == "string") {
        this.remove(item);
        const { room, offset, epoch, id, time, cursor, duplicate } = r;
        const p = { room, offset, epoch, id, time, cursor, duplicate: !!duplicate };
        this.sender.acknowledged(p);
        item.ok(p);
        return;
      }
      const e = told(r.error, { status: r.status, final: afterStatus(r.status) == "never" });
      if (e && e.final) this.refuse(item, e);
      else again = e || new CulvertError("bad_answer", "a result that is not Culvert's");
    });
    this.next(again);
  }

  private failed(batch: Item[], e: CulvertError, route: Ws | "http") {
    if (this.stopped) return;
    const many = batch.length > 1;
    if (e.status == 413 || /_too_large$/.test(e.code)) {
      if (!many) this.refuse(batch[0], e);
      else {
        this.most = Math.ceil(batch.length / 2);
        this.mostBytes = batch.reduce((n, item) => n + item.text.length, 0) / 2;
      }
      return this.next();
    }
    if (e.final) {
      if (many) this.single = batch.length + 1;
      else this.refuse(batch[0], e);
      return this.next();
    }
    // A WebSocket that ended is no reason to wait: the next route is.
    this.next(e, route != "http" && e.retryAfter == null);
  }

  private next(again?: CulvertError, soon?: boolean) {
    this.flight = undefined;
    this.timers.clear("unanswered");
    if (this.single) this.single--;
    this.attempt = again ? this.attempt + 1 : 0;
    if (again && !soon) {
      // The first repeat is for an answer that got lost, and comes soon.
      const wait = this.attempt > 1 ? backoff(this.http.env, this.attempt - 1) : 100 + 400 * this.http.env.clock.random();
      this.timers.set("retry", Math.max(wait, again.retryAfter || 0), () => this.pump());
    } else this.pump();
  }

  private remove(item: Item) {
    const i = this.items.indexOf(item);
    if (i >= 0) {
      this.items.splice(i, 1);
      this.bytes -= item.data.length;
    }
  }

  private refuse(item: Item, e: CulvertError) {
    this.remove(item);
    item.no(e);
  }

  /** Refuses what waits and what comes, or, without an error, takes publishes again. */
  stop(e?: CulvertError) {
    this.stopped = e;
    if (!e) return;
    this.flight = undefined;
    this.timers.clearAll();
    this.bytes = 0;
    this.items.splice(0).forEach((item) => item.no(e));
  }
}

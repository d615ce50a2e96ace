import type * as api from "./api";
import { afterStatus } from "./codes";
import { unique } from "./env";
import { CulvertError, foreign, none, refusal, told } from "./errors";
import type { Http } from "./http";
import { Timers, backoff } from "./timer";

/** A message that was not answered yet. */
interface Item {
  /** As an element of a batch. */
  text: string;
  ok: (p: api.Published) => void;
  no: (e: CulvertError) => void;
}

/** What the queue asks of the connection. */
export interface Sender {
  /** Sends a list of messages as JSON, over whatever there is; undefined: not now. */
  send(list: string): Promise<any> | undefined;
  /** A batch has waited long for its answer; true: it is to be sent again, for there is a better way now. */
  unanswered(answered: () => boolean): unknown;
  acknowledged(p: api.Published): void;
}

const batchMessages = 100;
const batchBytes = 64e3;
/** Servers close a WebSocket at a frame of 1 MiB. */
const messageBytes = 900e3;
/** An answer takes no longer than this and two round trips, and what a slow line (50 KB/s) needs for the batch. */
const patience = 1000;
/** How often one that does not come is asked about. */
const insistence = 3000;

/**
 * Publishes, in order, one batch at a time. A batch is sent again, over whatever there is then and with the same keys,
 * until it is answered: the server lets each key take effect once.
 *
 * An attempt that was given up may still reach the server, long after others. It cannot break the order: whatever is sent
 * begins with the oldest message that is not answered and leaves none out, so that when a message first takes effect,
 * all before it had theirs, or are in the same request before it. An attempt that comes late repeats messages that had
 * their effect, or goes on where the queue does.
 */
export class Queue {
  private items: Item[] = [];
  private flight?: Item[];
  private attempt = 0;
  /** Messages of the next batch: half as many when one was refused, until it is the one message that is; then more again. */
  private most = batchMessages;
  /** Why nothing is taken. */
  stopped?: CulvertError;
  private timers: Timers;

  constructor(private sender: Sender, private http: Http, private bounds: NonNullable<api.Options["queue"]>) {
    this.timers = new Timers(http.env);
  }

  add(room: string, value: unknown, o: api.PublishOptions = {}): Promise<api.Published> {
    const added = new Promise<api.Published>((ok, no) => {
      if (this.stopped) return no(this.stopped);
      let data: string | undefined;
      try {
        data = JSON.stringify(value);
      } catch (e) {}
      if (data === undefined) return no(refusal("bad_json"));
      const { messages = 1000, bytes = 1 << 20 } = this.bounds;
      if (new TextEncoder().encode(data).length > messageBytes) return no(refusal("message_too_large"));
      if (this.items.length >= messages || this.items.reduce((sum, item) => sum + item.text.length, data.length) > bytes)
        return no(refusal("queue_full"));
      const key = o.key == null ? unique(this.http.env) : String(o.key);
      const head = JSON.stringify({ room, key, ephemeral: o.ephemeral || undefined });
      this.items.push({ text: head.slice(0, -1) + ',"data":' + data + "}", ok, no });
    });
    // Who does not care for the result does not care for its error either.
    added.catch(none);
    this.pump();
    return added;
  }

  /** Sends what waits, if nothing is under way. */
  pump() {
    if (this.flight || !this.items.length || this.timers.has("retry")) return;
    let size = 0;
    const batch: Item[] = [];
    for (const item of this.items) {
      size += item.text.length;
      if (batch.length && (batch.length >= this.most || size > batchBytes)) break;
      batch.push(item);
    }
    const answer = this.sender.send("[" + batch.map((item) => item.text).join() + "]");
    if (!answer) return;
    this.flight = batch;
    const ask = (after: number) =>
      this.timers.set("unanswered", after, () => {
        ask(insistence);
        if (this.sender.unanswered(() => this.flight != batch)) this.next();
      });
    ask(patience + 2 * this.http.roundTrip + size / 50);
    answer.then(
      (a) => this.answered(batch, a.results),
      (e) => this.failed(batch, e),
    );
  }

  private answered(batch: Item[], results: any) {
    // It was given up meanwhile, and its messages were refused.
    if (this.flight != batch) return;
    if (!results || results.length != batch.length) return this.failed(batch, foreign());
    let again: CulvertError | undefined;
    batch.forEach((item, i) => {
      const r = results[i] || {};
      if (r.status < 300 && typeof r.id == "string") {
        this.remove(item);
        delete r.status;
        this.sender.acknowledged(r);
        return item.ok(r);
      }
      const e = told(r.error, { status: r.status, final: afterStatus(r.status) == "never" });
      if (e.final) this.refuse(item, e);
      else again = e;
    });
    this.most = Math.min(2 * this.most, batchMessages);
    this.next(again);
  }

  private failed(batch: Item[], e: CulvertError) {
    if (this.flight != batch) return;
    // A path may refuse what is too large for it.
    if (!e.final && e.status != 413) return this.next(e);
    this.most = Math.ceil(batch.length / 2);
    if (batch.length == 1) this.refuse(batch[0], e);
    this.next();
  }

  private next(again?: CulvertError) {
    this.flight = undefined;
    this.timers.stop("unanswered");
    this.attempt = again ? this.attempt + 1 : 0;
    if (again && again.retryAfter !== 0) {
      // The first repeat is for an answer that got lost, and comes soon.
      const wait = this.attempt > 1 ? backoff(this.http.env, this.attempt - 1) : 100 + 400 * this.http.env.random();
      this.timers.set("retry", Math.max(wait, again.retryAfter || 0), () => this.pump());
    } else this.pump();
  }

  private remove(item: Item) {
    this.items = this.items.filter((other) => other != item);
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
    this.items.splice(0).forEach((item) => item.no(e));
  }
}

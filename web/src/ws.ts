import { afterClose, closeCodes } from "./codes";
import { CulvertError, told } from "./errors";
import type { Http } from "./http";
import type { End, Envelope, Owner, Pipe } from "./pipe";
import { Timers } from "./timer";

const handshakeLimit = 10e3;
const proofSize = 16384;

/** A WebSocket. It is proven by an answer to a ping that takes 16 KiB there and back, for open is not proof. */
export class Ws implements Pipe {
  readonly kind = "websocket";
  readonly name = "websocket";
  since: number;
  heard: number;
  heartbeat = 15;
  readonly broken = new Set<string>();
  /** Rooms that the server was asked to send here. */
  readonly joined = new Set<string>();
  /** The server's first word has come. */
  open = false;
  /** Resolves when it is proven or ended. */
  readonly settled: Promise<void>;

  private socket: any;
  private over = false;
  private settle!: () => void;
  private refs = 0;
  private waiting = new Map<number, { ok: (reply: any) => void; no: (e: CulvertError) => void }>();
  private timers: Timers;

  constructor(private owner: Owner, private http: Http, address: string | Promise<string>) {
    this.timers = new Timers(http.env);
    this.since = this.heard = http.env.clock.now();
    this.settled = new Promise((done) => (this.settle = done));
    this.timers.set("limit", handshakeLimit, () => this.fail("timeout", "no WebSocket in 10 s"));
    if (typeof address == "string") this.dial(address);
    else address.then((a) => this.dial(a), (e) => this.end({ error: e, told: true, reconnect: "backoff" }));
  }

  private dial(address: string) {
    if (this.over) return;
    let socket: any;
    try {
      socket = this.socket = new this.http.env.WebSocket(address);
    } catch (e) {
      // Told later: the owner does not have this object yet.
      this.timers.set("limit", 0, () => this.fail("network", "WebSocket: " + (e as any).message));
      return;
    }
    socket.onerror = () => {};
    socket.onmessage = (e: any) => this.over || this.frame(e.data);
    socket.onclose = (e: any) => this.closed(e || {});
  }

  private frame(data: unknown) {
    let envelope: Envelope | undefined;
    try {
      envelope = JSON.parse(data as string);
    } catch (e) {}
    if (!envelope || typeof envelope.type != "string") return this.fail("bad_answer", "a frame that is not Culvert's");
    this.heard = this.http.env.clock.now();
    const { type } = envelope;
    if (type == "reply") return this.reply(envelope);
    if (type == "hello") {
      if (envelope.protocol != 1) return this.fail("bad_answer", "another version of the protocol");
      this.open = true;
      this.since = this.heard;
      if (envelope.heartbeat >= 1) this.heartbeat = envelope.heartbeat;
      for (const room of envelope.rooms || []) this.joined.add(room);
    } else if (!this.open && type != "error") return this.fail("bad_answer", "a frame before hello");
    this.owner.receive(envelope, this);
    if (type == "hello" && !this.over) this.prove();
  }

  private prove() {
    const began = this.heard;
    const nonce = String(this.http.env.clock.random());
    this.timers.set("limit", this.http.patience + 2000, () => this.fail("timeout", "frames of 16 KiB do not pass"));
    this.command({ type: "ping", data: nonce + ".".repeat(proofSize), size: 0 }).then(
      (reply) => {
        if (typeof reply.data != "string" || reply.data.slice(0, nonce.length) != nonce || reply.data.length < proofSize)
          return this.fail("bad_answer", "a ping came back changed");
        this.timers.clear("limit");
        this.http.measured(this.http.env.clock.now() - began);
        this.http.clock(reply.time);
        this.settle();
        this.owner.proven(this);
      },
      (e) => this.over || this.fail(e.code, "ping: " + e.message),
    );
  }

  /** Sends a command; rejects with the reply's error, or when the connection ends. */
  command(fields: object): Promise<any> {
    const ref = ++this.refs;
    return this.text((r) => JSON.stringify(Object.assign({ ref: r }, fields)), ref);
  }

  /** Like command, for JSON that is ready but for its ref. */
  text(make: (ref: number) => string, ref = ++this.refs): Promise<any> {
    return new Promise((ok, no) => {
      if (this.over) return no(new CulvertError("network", "the WebSocket has ended"));
      this.waiting.set(ref, { ok, no });
      try {
        this.socket.send(make(ref));
      } catch (e) {
        this.fail("network", "WebSocket: " + (e as any).message);
      }
    });
  }

  private reply(r: Envelope) {
    const asked = this.waiting.get(r.ref);
    if (!asked) return;
    this.waiting.delete(r.ref);
    if (r.ok) asked.ok(r);
    else asked.no(told(r.error, { final: !((r.error || {}).retry_after_ms >= 0) }) || new CulvertError("bad_answer", "a reply without its error"));
  }

  private closed(e: { code?: number; reason?: string }) {
    const code = e.code || 1006;
    const name = closeCodes[code];
    // Only codes of Culvert's own range are its word: 1002, 1007 or 1009 is what a path does that changes frames.
    const ours = code >= 4000 && code < 4600;
    this.end({
      error: new CulvertError(name || "network", e.reason || (this.open ? "the WebSocket broke" : "no WebSocket here") + " (" + code + ")", {
        final: ours && afterClose(code) == "never",
      }),
      told: ours,
      reconnect: ours ? afterClose(code) : "backoff",
    });
  }

  private fail(code: string, message: string) {
    this.end({ error: new CulvertError(code, message), told: false, reconnect: "backoff" });
  }

  private end(end: End) {
    if (this.over) return;
    this.close(end.error);
    this.owner.ended(this, end);
  }

  close(error = new CulvertError("network", "the WebSocket was closed")) {
    if (this.over) return;
    this.over = true;
    this.timers.clearAll();
    const { socket } = this;
    if (socket) {
      socket.onmessage = socket.onclose = null;
      try {
        socket.close(1000);
      } catch (e) {}
    }
    const waiting = Array.from(this.waiting.values());
    this.waiting.clear();
    waiting.forEach((w) => w.no(error));
    this.settle();
  }
}

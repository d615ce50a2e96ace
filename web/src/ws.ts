import { CulvertError, foreign, told } from "./errors";
import type { Http } from "./http";
import { Envelope, Line, Owner } from "./pipe";

const handshakeLimit = 10e3;
const proofSize = 16384;

/** A WebSocket. It is proven by an answer to a ping that takes 16 KiB there and back, for open is not proof. */
export class Ws extends Line {
  /** Rooms that the server was asked to send here. */
  readonly joined = new Set<string>();
  /** Resolves when it is proven or ended. */
  readonly settled: Promise<void>;

  private socket: any;
  private settle!: () => void;
  private refs = 0;
  private waiting = new Map<number, { ok: (reply: any) => void; no: (e: CulvertError) => void }>();
  /** The error frame that came before a close. */
  private refusal?: CulvertError;

  constructor(owner: Owner, http: Http, address: string | Promise<string>) {
    super(owner, http, "websocket", "websocket");
    this.settled = new Promise((done) => (this.settle = done));
    this.timers.set("limit", handshakeLimit, () => this.fail("no answer in time", "timeout"));
    if (typeof address == "string") this.dial(address);
    else address.then((a) => this.dial(a), (e) => this.end({ error: e, told: true, reconnect: "backoff" }));
  }

  private dial(address: string) {
    if (this.over) return;
    try {
      const socket = (this.socket = new this.http.env.WebSocket(address));
      socket.onerror = () => {};
      socket.onmessage = (e: any) => this.over || this.frame(e.data);
      socket.onclose = (e: any) => this.closed(e.code || 1006, e.reason);
    } catch (e) {
      // Told later: the owner does not have this object yet.
      this.timers.set("limit", 0, () => this.fail((e as Error).message));
    }
  }

  private frame(data: unknown) {
    const m = this.parse(data);
    if (!m) return;
    const { type } = m;
    if (type == "reply") return this.reply(m);
    if (type == "error") this.refusal = told(m.error);
    if (type == "hello") for (const room of m.rooms || []) this.joined.add(room);
    this.owner.receive(m, this);
    if (type == "hello" && !this.over) this.prove();
  }

  private prove() {
    const { env } = this.http;
    const began = this.heard;
    const data = env.random() + ".".repeat(proofSize);
    this.timers.set("limit", this.http.patience + 2000, () => this.fail("16 KiB do not pass", "timeout"));
    this.command({ type: "ping", data }).then(
      (reply) => {
        if (reply.data != data) return this.fail("a ping came back changed", "bad_answer");
        this.timers.clear("limit");
        this.http.measured(env.now() - began);
        this.settle();
        this.owner.proven(this);
      },
      (e) => this.fail(e.message, e.code),
    );
  }

  /** Sends a command; rejects with the reply's error, or when the connection ends. */
  command(fields: object): Promise<any> {
    return this.text((ref) => JSON.stringify(Object.assign({ ref }, fields)));
  }

  /** Like command, for JSON that is ready but for its ref. */
  text(make: (ref: number) => string): Promise<any> {
    return new Promise((ok, no) => {
            if (this.over) return no(new CulvertError("network", "closed", { retryAfter: 0 }));
      this.waiting.set(++this.refs, { ok, no });
      try {
        this.socket.send(make(this.refs));
      } catch (e) {
        this.fail((e as Error).message);
      }
    });
  }

  private reply(r: Envelope) {
    const asked = this.waiting.get(r.ref);
    if (!asked) return;
    this.waiting.delete(r.ref);
    if (r.ok) asked.ok(r);
    else asked.no(told(r.error, { final: !((r.error || {}).retry_after_ms >= 0) }) || foreign());
  }

  private closed(code: number, reason?: string) {
    // Only codes of Culvert's own ranges are its word: 1002, 1007 or 1009 is what a path does that changes frames.
    const ours = code >= 4000 && code < 4600;
    this.end({
      error:
        (ours && this.refusal) ||
        new CulvertError(ours ? "closed_" + code : "network", reason || "WebSocket closed: " + code),
      told: ours,
      reconnect: !ours || (code >= 4100 && code < 4400) ? "backoff" : code < 4100 ? "now" : "never",
    });
  }

  close(error?: CulvertError) {
    if (this.over) return;
    super.close();
    const { socket } = this;
    if (socket) {
      socket.onmessage = socket.onclose = null;
      try {
        socket.close(1000);
        // In Node a peer that does not answer would be waited for.
        if (socket.terminate) this.http.env.setTimeout(() => socket.terminate(), 500);
      } catch (e) {}
    }
    // No reason to wait: what was not answered may go another way at once.
    this.waiting.forEach((w) => w.no(new CulvertError("network", error ? error.message : "closed", { retryAfter: 0 })));
    this.settle();
  }
}

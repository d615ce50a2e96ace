import { CulvertError, none, told } from "./errors";
import type { Http } from "./http";
import { Envelope, Line, Owner } from "./pipe";

const handshakeLimit = 10e3;
const proofSize = 16384;

/** No reason to wait: what was not answered may go another way at once. */
const gone = (message: string) => new CulvertError("network", message, { retryAfter: 0 });

/** What a reply or an error frame says. */
const said = (error: any) => told(error, { final: !((error || {}).retry_after_ms >= 0) });

/** A WebSocket. It is proven by an answer to a ping that takes 16 KiB there and back, for open is not proof. */
export class Ws extends Line {
  /** Rooms that the server was asked to send here. */
  readonly joined = new Set<string>();

  private socket: any;
  private refs = 0;
  private waiting = new Map<number, { ok: (reply: any) => void; no: (e: CulvertError) => void; size: number }>();
  /** The error frame, or the bye, that came before a close. */
  private refusal?: CulvertError;

  constructor(owner: Owner, http: Http, address: Promise<string>) {
    super(owner, http, "websocket");
    this.timers.set("limit", handshakeLimit, () => this.fail("no answer in time", "timeout"));
    address.then(
      (a) => this.dial(a),
      (e) => this.end(e, true, "backoff"),
    );
  }

  private dial(address: string) {
    if (this.over) return;
    const { WebSocket } = this.http.env;
    try {
      const socket = (this.socket = new WebSocket(address));
      // Not every runtime says onclose after it, and where one does it comes first.
      socket.onerror = () => this.timers.set("limit", 0, () => this.closed(1006));
      socket.onopen = () => this.owner.opened(this);
      socket.onmessage = (e: any) => this.over || this.frame(e.data);
      socket.onclose = (e: any) => this.closed(e.code, e.reason);
    } catch (e) {
      this.fail(WebSocket ? (e as Error).message : "no WebSocket");
    }
  }

  private frame(data: unknown) {
    const m = this.parse(data);
    if (!m) return;
    const { type } = m;
    if (type == "reply") return this.reply(m);
    // Its close code will say whether all there is was refused, or what came of the frames of this connection.
    const last = type == "bye" && m.reconnect == "never";
    if (last || type == "error") this.refusal = said(m.error || m);
    if (type == "hello") for (const room of m.rooms || []) this.broken.has(room) || this.joined.add(room);
    if (!last) this.owner.receive(m, this);
    if (type == "hello" && !this.over) this.prove();
  }

  private prove() {
    const { env } = this.http;
    const began = this.heard;
    const data = env.random() + ".".repeat(proofSize);
    this.timers.set("limit", this.http.patience + 2000, () => this.fail("16 KiB do not pass", "timeout"));
    this.command({ type: "ping", data }).then(
      (reply) => {
        if (reply.data != data) return this.fail("changed", "bad_answer");
        this.http.measured(env.now() - began);
        this.good();
      },
      (e) => this.fail(e.message, e.code),
    );
  }

  /**
   * Sends a command; rejects with the reply's error, or when the connection ends. Outside of browsers frames that come
   * together are told without a turn in between: what must be done before the next one is for `heard`.
   */
  command(fields: object, heard?: (reply: any) => void): Promise<any> {
    return this.sendText(JSON.stringify(fields), heard);
  }

  /** Like command, for what is JSON already. */
  sendText(json: string, heard: (reply: any) => void = none): Promise<any> {
    return new Promise((ok, no) => {
      if (this.over) return no(gone("closed"));
      this.waiting.set(++this.refs, { ok: (reply) => ok((heard(reply), reply)), no, size: json.length });
      try {
        this.socket.send('{"ref":' + this.refs + "," + json.slice(1));
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
    else asked.no(said(r.error));
  }

  private closed(code: number, reason?: string) {
    // Only codes of Culvert's own ranges are its word: 1002, 1007 or 1009 is what a path does that changes frames.
    const ours = code >= 4000 && code < 4600;
    this.end(
      (ours && this.refusal) ||
        // The reason begins with the code of the error.
        new CulvertError(ours ? (/^\w+/.exec(reason!) || ["closed_" + code])[0] : "network", reason || "WebSocket closed: " + code),
      ours,
      code < 4100 ? "now" : code < 4400 ? "backoff" : "never",
    );
  }

  close(error?: CulvertError) {
    if (this.over) return;
    super.close(error);
    const { socket, refusal } = this;
    try {
      socket.close(1000);
      // In Node a peer that does not answer would be waited for.
      if (socket.terminate) this.http.env.setTimeout(() => socket.terminate(), 500);
    } catch (e) {} // There may be none yet.
    // What is too large goes no other way; the proof's size did pass.
    const large = refusal && refusal.code == "frame_too_large";
    this.waiting.forEach((w) => w.no(large && w.size > proofSize ? refusal! : gone(error ? error.message : "closed")));
  }
}

/** What lies between. */
export class Network {
  /** One way, in milliseconds. */
  delay = 10;
  on = true;
  /** "ok", "refuse", "error" (refused, without a close event), "swallow" (no answer), "dead" (opens, and no frame passes). */
  ws = "ok";
  /** "good", "held", "batched", "lumps" (of 4 KB), "refuse"; a function of (method, accept). */
  stream = () => "good";
  /** Answers of the path's own: (request) => {status, body, headers} or "lost" (done, and the answer lost) or "twice". */
  plain = () => null;
  /** How many trips a WebSocket's handshake takes. */
  wsTrips = 2;
  /** Envelopes that never arrive, of WebSockets and streams. */
  swallow = () => false;
  /** What becomes of the text of an envelope, on WebSockets and streams. */
  rewrite = (text) => text;
  /** Frames of a WebSocket that come together are told without a turn in between. */
  together = false;
  /** Milliseconds after which a WebSocket is cut, whatever passes; 0: never. */
  wsAge = 0;
  /** Milliseconds without a byte after which a WebSocket is cut. */
  wsIdle = 0;
  /** The longest answer in milliseconds. */
  cap = 0;
  /** So many of the next requests are sent where nobody hears them. */
  dead = 0;
  /** Every request, as text: for counting. */
  log = [];
  open = new Set();

  constructor(clock, server) {
    this.clock = clock;
    this.server = server;
    const network = this;
    this.fetch = (url, init) => this.request(String(url), init || {});
    this.WebSocket = class extends Socket {
      constructor(url) {
        super(network, url);
      }
    };
  }

  count(from = 0, what = "") {
    return this.log.filter((r) => r.at >= from && r.text.includes(what)).length;
  }

  /** Open connections are silent from now on, and so are some that the browser keeps for the next requests. */
  freeze(kept = 0) {
    for (const c of this.open) c.frozen = true;
    this.dead = kept;
  }

  async request(url, init) {
    const { clock, server } = this;
    const u = new URL(url);
    const method = init.method || "GET";
    const body = init.body;
    const accept = (init.headers || {}).Accept;
    const request = { at: clock.now(), text: method + " " + u.pathname, method, path: u.pathname, query: u.searchParams, accept, credentials: init.credentials, size: (body || "").length };
    this.log.push(request);
    const gone = [];
    const aborted = new Promise((_, no) => {
      if (init.signal) init.signal.addEventListener("abort", () => (gone.forEach((f) => f()), no(init.signal.reason)));
    });
    aborted.catch(() => {});
    const passes = async () => {
      await clock.sleep(this.delay);
      if (!this.on || !server.up) throw new TypeError("fetch failed");
      const own = this.plain(request);
      if (own && own.status) {
        await clock.sleep(this.delay);
        return response(own.status, own.headers, own.body);
      }
      const params = Object.fromEntries(u.searchParams);
      const go = () => server.answer(method, u.pathname, params, body, (f) => gone.push(f), ((init.headers || {}).Authorization || "").slice(7));
      if (own == "hang" || this.dead-- > 0) await new Promise(() => {});
      if (own == "slow") await clock.sleep(server.slow);
      if (own == "twice") go();
      const conn = { frozen: false };
      this.open.add(conn);
      gone.push(() => this.open.delete(conn));
      const res = await (this.cap ? Promise.race([go(), clock.sleep(this.cap).then(() => ({ status: 504, body: "<html>" }))]) : go());
      if (res.stream && res.status == 200) return this.streamed(res.stream, method, accept, gone, +params.pad);
      this.open.delete(conn);
      if (conn.frozen) await new Promise(() => {});
      await clock.sleep(this.delay);
      if (!this.on || own == "lost") throw new TypeError("fetch failed");
      return response(res.status, res.headers, res.body);
    };
    return Promise.race([passes(), aborted]);
  }

  streamed(start, method, accept, gone, pad) {
    const { clock } = this;
    const mode = this.stream(method, accept);
    if (mode == "refuse") return response(403, {}, "<html>");
    const pieces = [];
    let wake = () => {};
    let over = false;
    const conn = { frozen: false };
    this.open.add(conn);
    const push = (text) =>
      clock.setTimeout(() => {
        if (conn.frozen || over) return;
        if (text == null) over = true;
        else pieces.push(text);
        wake();
      }, this.delay);
    let held = [];
    let lump = "";
    const write = (m) => {
      const text = ": x\nid: 1\nevent: " + m.type + "\ndata: " + this.rewrite(JSON.stringify(m), m) + "\n\n";
      if (mode == "held" || this.swallow(m)) return;
      if (mode == "lumps") {
        lump += text;
        // White space behind the first event.
        if (m.type == "hello") lump += " ".repeat(pad) + "\n";
        for (; lump.length >= 4096; lump = lump.slice(4096)) push(lump.slice(0, 4096));
        return;
      }
      if (mode != "batched") return push(text);
      held.push(text);
      if (held.length == 1) clock.setTimeout(() => (push(held.join("")), (held = [])), 500);
    };
    const stop = start(write, () => push(null));
    conn.cut = () => (stop(), push(null));
    gone.push(() => (stop(), this.open.delete(conn)));
    const encode = new TextEncoder();
    return {
      ...response(200, {}, ""),
      body: {
        getReader: () => ({
          read: async () => {
            while (!pieces.length && !over) await new Promise((done) => (wake = done));
            return pieces.length ? { value: encode.encode(pieces.shift()), done: false } : { done: true };
          },
        }),
      },
    };
  }
}

const response = (status, headers = {}, body = "") => ({
  status,
  ok: status >= 200 && status < 300,
  headers: { get: (name) => headers[name.toLowerCase()] ?? null },
  text: async () => body,
  body: null,
});

class Socket {
  frozen = false;
  state = 0;

  constructor(network, url) {
    const { clock, server } = network;
    Object.assign(this, { network, clock, server });
    network.log.push({ at: clock.now(), text: "WS " + new URL(url).pathname });
    const u = new URL(url);
    this.later(network.wsTrips, () => {
      if (network.ws == "swallow") return;
      if (network.ws == "error") return this.onerror({});
      const params = Object.fromEntries(u.searchParams);
      // A browser does not tell the page why a handshake was refused.
      const denied = server.token && params.token != server.token;
      if (network.ws == "refuse" || !network.on || !server.up || denied) return this.kill(1006);
      this.state = 1;
      server.sockets.add(this);
      if (this.onopen) this.onopen({});
      network.open.add(this);
      if (network.wsAge) clock.setTimeout(() => this.kill(1006), network.wsAge);
      const rooms = u.pathname.split("/")[2].split(",");
      const error = server.refusal(rooms);
      if (error) {
        this.toClient({ type: "error", error });
        return this.kill(4411, error.code + ": refused");
      }
      this.conn = {};
      this.stop = server.read(rooms, params, (m) => this.toClient(m), () => {}, this.conn);
    });
  }
  later(trips, fn) {
    this.clock.setTimeout(fn, this.network.delay * trips);
  }
  busy() {
    const { wsIdle } = this.network;
    this.clock.clearTimeout(this.idle);
    if (wsIdle) this.idle = this.clock.setTimeout(() => this.kill(1006), wsIdle);
  }
  toClient(m) {
    if (this.network.ws == "dead" || this.frozen || this.over || this.network.swallow(m)) return;
    this.busy();
    const text = this.network.rewrite(JSON.stringify(m), m);
    const { last } = this;
    if (this.network.together && last && last.at == this.clock.now()) return last.texts.push(text);
    const { texts } = (this.last = { at: this.clock.now(), texts: [text] });
    this.later(1, () => {
      for (const data of texts) if (this.state == 1 && !this.frozen && this.network.on && this.onmessage) this.onmessage({ data });
    });
  }
  send(text) {
    if (this.state != 1) throw new Error("not open");
    if (this.network.ws == "dead" || this.frozen) return;
    this.busy();
    if (text.length > this.server.mostFrame) return this.bye(1009, "frame_too_large");
    this.later(1, () => {
      if (!this.over && !this.frozen && this.network.on) this.server.command(JSON.parse(text), this.conn, (m) => this.conn.say(m));
    });
  }
  /** The server ends it for something that the client did. */
  bye(close, code) {
    this.toClient({ type: "bye", code, message: "", reconnect: "never", after_ms: 0 });
    this.kill(close, code + ": ended");
  }
  gone() {
    this.over = true;
    this.server.sockets.delete(this);
    this.network.open.delete(this);
    this.clock.clearTimeout(this.idle);
    if (this.stop) this.stop();
  }
  kill(code, reason = "") {
    if (this.over) return;
    this.gone();
    this.later(1, () => {
      if (this.frozen || this.state == 3) return;
      this.state = 3;
      if (this.onerror) this.onerror({});
      if (this.onclose) this.onclose({ code, reason });
    });
  }
  close() {
    this.state = 3;
    if (!this.over) this.gone();
  }
}

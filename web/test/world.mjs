// A world for the client: a clock that is moved by hand, a server that speaks the protocol, and a network between them
// that can be told to misbehave. All of it is in this process, so that hours pass in milliseconds.
//
// To extend: a new misbehaviour is a field of Network that `fetch` or `Socket` looks at; a new feature of the protocol
// is a branch of Server.answer (plain requests) or Server.command (WebSocket).

const turn = () => new Promise((done) => setImmediate(done));

export class Clock {
  ms = 0;
  epoch = 1_700_000_000_000;
  timers = new Map();
  ids = 0;

  constructor(seed = 1) {
    this.seed = seed;
    for (const name of ["setTimeout", "clearTimeout", "now", "date", "random"]) this[name] = this[name].bind(this);
  }
  now() {
    return this.ms;
  }
  date() {
    return this.epoch + this.ms;
  }
  random() {
    // mulberry32
    let t = (this.seed += 0x6d2b79f5);
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  }
  setTimeout(fn, ms = 0) {
    this.timers.set(++this.ids, { at: this.ms + Math.max(0, ms), fn });
    return this.ids;
  }
  clearTimeout(id) {
    this.timers.delete(id);
  }
  sleep(ms) {
    return new Promise((done) => this.setTimeout(done, ms));
  }
  /** Lets so many milliseconds pass, or as many as it takes until `until` holds. */
  async run(ms, until = () => false) {
    const end = this.ms + ms;
    for (;;) {
      await turn();
      if (until()) return true;
      let next;
      for (const [id, t] of this.timers) if (t.at <= end && (!next || t.at < next.at)) next = { id, at: t.at, fn: t.fn };
      if (!next) break;
      this.timers.delete(next.id);
      this.ms = next.at;
      next.fn();
    }
    this.ms = end;
    await turn();
    return until();
  }
}

/** Culvert's server, as far as the client sees it. */
export class Server {
  rooms = new Map();
  keys = new Map();
  /** What is connected, to be cut off. */
  sockets = new Set();
  streams = new Set();
  polls = new Set();
  epochs = 0;
  history = 1000;
  up = true;
  heartbeat = 15000;
  token = null;
  limit = 1000;

  constructor(clock) {
    this.clock = clock;
  }

  room(name) {
    if (!this.rooms.has(name)) this.rooms.set(name, { name, epoch: "e" + String(++this.epochs).padStart(4, "0"), messages: [], first: 1, readers: new Set() });
    return this.rooms.get(name);
  }

  /** The room's history is lost, and another one begins. */
  lose(name) {
    const readers = this.room(name).readers;
    this.rooms.delete(name);
    this.room(name).readers = readers;
  }

  place(room, offset = room.first + room.messages.length - 1) {
    if (!offset) return room.name + "=0";
    const m = room.messages[offset - room.first];
    return room.name + "=" + room.epoch + "." + offset + "." + (m ? m.id : "x" + offset);
  }

  publish({ room: name, data, key, ephemeral }) {
    const room = this.room(name);
    const id = "m" + Math.floor(this.clock.random() * 1e9).toString(36);
    const text = JSON.stringify(data);
    const known = key && this.keys.get(name + " " + key);
    if (known) {
      if (known.text != text) return { status: 422, error: { code: "key_conflict", message: "other content" } };
      return { ...known.result, status: 200, duplicate: true };
    }
    const m = { type: "message", room: name, id, time: this.clock.date(), data };
    if (ephemeral) m.ephemeral = true;
    else {
      m.offset = room.first + room.messages.length;
      m.epoch = room.epoch;
      room.messages.push(m);
      while (room.messages.length > this.history) room.messages.shift(), room.first++;
    }
    for (const read of [...room.readers]) read(m);
    const result = { status: 201, room: name, offset: m.offset, epoch: m.epoch, id, time: m.time, duplicate: false };
    if (!ephemeral) result.cursor = this.place(room, m.offset);
    if (key) this.keys.set(name + " " + key, { text, result });
    return result;
  }

  /** What a reader who stands there gets: envelopes, and where it stands then. */
  from(name, params) {
    const room = this.room(name);
    const head = room.first + room.messages.length - 1;
    let text;
    for (const part of (params.cursor || "").split(",")) {
      if (part.startsWith(name + "=")) text = part.slice(name.length + 1);
    }
    let after;
    const out = [];
    const gap = (reason, to) => out.push({ type: "gap", room: name, reason, from: name + "=" + text, to, time: this.clock.date() });
    if (text != null) {
      const [epoch, offset, id] = text.split(".");
      if (epoch == "0") {
        after = room.first - 1;
        if (after) gap("evicted", this.place(room, after));
      } else if (epoch != room.epoch) {
        after = room.first - 1;
        gap("lost", this.place(room, after));
      } else if (+offset > head) {
        after = head;
        gap("lost", this.place(room));
      } else if (+offset < room.first - 1) {
        after = room.first - 1;
        gap("evicted", this.place(room, after));
      } else {
        after = +offset;
        if (after >= room.first && room.messages[after - room.first].id != id) gap("fork", this.place(room, after));
      }
    } else if (params.last != null) after = Math.max(room.first - 1, head - params.last);
    else if (params.from) after = room.first - 1;
    else after = head;
    const start = this.place(room, after);
    out.push(...room.messages.slice(after - room.first + 1));
    return { start, out, end: this.place(room) };
  }

  error(status, code, more) {
    return { status, body: JSON.stringify({ error: { code, message: code, ...more } }), headers: more && more.retry_after_ms ? { "retry-after": String(Math.ceil(more.retry_after_ms / 1000)) } : {} };
  }

  /** A plain request. Resolves with {status, body, headers}, or {status, stream}. */
  async answer(method, path, params, body, gone, bearer) {
    if (this.token && ![params.token, bearer].includes(this.token)) return this.error(401, "token_expired");
    const ok = (value, status = 200) => ({ status, body: JSON.stringify(value) });
    if (path == "/publish") {
      if (body.length > this.limit * 1000) return this.error(413, "body_too_large");
      const list = JSON.parse(body);
      return ok({ results: list.map((m) => this.publish(m)) });
    }
    const [, , names, what] = path.split("/");
    if (method == "POST" && !what) {
      const { status, error, ...result } = this.publish({ room: names, data: JSON.parse(body), key: params.key });
      return error ? this.error(status, error.code) : ok(result, status);
    }
    if (method == "POST") params = { ...Object.fromEntries(new URLSearchParams(body)), ...params };
    const rooms = names.split(",");
    if (what == "poll") return this.poll(rooms, params, gone, ok);
    if (what == "sse") return { status: 200, stream: (write, end) => this.read(rooms, params, write, end) };
    if (what == "presence") return ok({ room: names, members: [], count: 0 });
    if (what == "history") {
      const { out, end } = this.from(names, { cursor: params.after, last: params.limit || 100 });
      return ok({ room: names, messages: out, cursor: end, more: false });
    }
    return this.error(404, "not_found");
  }

  poll(rooms, params, gone, ok) {
    return new Promise((done) => {
      const wait = +(params.wait ?? 20) * 1000;
      const parts = rooms.map((name) => this.from(name, params));
      const messages = parts.flatMap((p) => p.out);
      const stop = [];
      const finish = (extra) => {
        stop.forEach((f) => f());
        this.polls.delete(finish);
        done(ok({ protocol: 1, messages, cursor: rooms.map((name, i) => (messages.length ? this.place(this.room(name)) : parts[i].start)).join(), time: this.clock.date(), ...extra }));
      };
      if (messages.length || !wait) return finish();
      const timer = this.clock.setTimeout(() => finish(), wait);
      stop.push(() => this.clock.clearTimeout(timer));
      for (const name of rooms) {
        const read = (m) => (messages.push(m), finish());
        const { readers } = this.room(name);
        readers.add(read);
        stop.push(() => readers.delete(read));
      }
      this.polls.add(finish);
      gone(() => {
        stop.forEach((f) => f());
        this.polls.delete(finish);
      });
    });
  }

  /** An endless reader: hello, what there is, what comes, heartbeats. Returns what ends it. */
  read(rooms, params, write, end, conn = {}) {
    const beat = params.heartbeat ? params.heartbeat * 1000 : this.heartbeat;
    conn.joined = new Map();
    let timer;
    const cursor = () => [...conn.joined.keys()].map((name) => conn.joined.get(name).at()).join();
    const stop = () => {
      this.clock.clearTimeout(timer);
      for (const r of conn.joined.values()) r.stop();
      this.streams.delete(bye);
      over = true;
    };
    let over = false;
    conn.say = (m) => {
      if (over) return;
      this.clock.clearTimeout(timer);
      timer = this.clock.setTimeout(() => conn.say({ type: "heartbeat", cursor: cursor(), time: this.clock.date() }), beat);
      write(m);
    };
    conn.join = (name, p) => {
      const { start, out } = this.from(name, p);
      const room = this.room(name);
      let at = start;
      const read = (m) => {
        if (m.offset) at = this.place(this.room(name), m.offset);
        conn.say(m);
      };
      room.readers.add(read);
      conn.joined.set(name, { at: () => at, stop: () => room.readers.delete(read) });
      return {
        start,
        go: () => {
          for (const m of out) {
            if (m.type == "gap") at = m.to;
            else at = this.place(room, m.offset);
            conn.say(m);
          }
        },
      };
    };
    conn.leave = (name) => {
      const j = conn.joined.get(name);
      if (!j) return;
      conn.joined.delete(name);
      j.stop();
    };
    const joins = rooms.map((name) => conn.join(name, params));
    conn.say({ type: "hello", protocol: 1, server: "fake", node: "n", client: params.client, rooms, cursor: joins.map((j) => j.start).join(), heartbeat: beat / 1000, time: this.clock.date() });
    joins.forEach((j) => j.go());
    if (params.probe) this.clock.setTimeout(() => conn.say({ type: "heartbeat", cursor: cursor(), time: this.clock.date() }), 300);
    const bye = (m) => {
      if (m) conn.say(m);
      stop();
      end();
    };
    this.streams.add(bye);
    return stop;
  }

  command(c, conn, reply) {
    const ok = (fields) => reply({ type: "reply", ref: c.ref, ok: true, ...fields });
    switch (c.type) {
      case "ping":
        return ok({ data: c.data, time: this.clock.date() });
      case "publish":
        return ok({ results: c.messages.map((m) => this.publish(m)) });
      case "subscribe": {
        const j = conn.join(c.room, c);
        ok({ rooms: [c.room], cursor: j.start });
        return j.go();
      }
      case "unsubscribe":
        conn.leave(c.room);
        return ok({ rooms: [c.room], cursor: "" });
    }
  }

  /** Ends everything at once; with a goodbye if there is a code. */
  restart(down = 0, bye) {
    for (const end of [...this.streams]) end(bye);
    for (const finish of [...this.polls]) finish(bye && { bye });
    for (const s of [...this.sockets]) s.kill(bye ? 4100 : 1006);
    this.up = false;
    this.clock.setTimeout(() => (this.up = true), down);
  }
}

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
    const request = { at: clock.now(), text: method + " " + u.pathname, method, path: u.pathname, query: u.searchParams, accept };
    this.log.push(request);
    const gone = [];
    const aborted = new Promise((_, no) => {
      if (init.signal) init.signal.addEventListener("abort", () => (gone.forEach((f) => f()), no(new Error("aborted"))));
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
      if (network.ws == "refuse" || !network.on || !server.up) return this.kill(1006);
      this.state = 1;
      server.sockets.add(this);
      if (this.onopen) this.onopen({});
      network.open.add(this);
      if (network.wsAge) clock.setTimeout(() => this.kill(1006), network.wsAge);
      const params = Object.fromEntries(u.searchParams);
      if (server.token && params.token != server.token) {
        this.toClient({ type: "error", error: { code: "token_expired", message: "expired" } });
        return this.kill(4401);
      }
      this.conn = {};
      this.stop = server.read(u.pathname.split("/")[2].split(","), params, (m) => this.toClient(m), () => {}, this.conn);
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
    this.later(1, () => {
      if (this.state == 1 && !this.frozen && this.network.on && this.onmessage) this.onmessage({ data: text });
    });
  }
  send(text) {
    if (this.state != 1) throw new Error("not open");
    if (this.network.ws == "dead" || this.frozen) return;
    this.busy();
    this.later(1, () => {
      if (!this.over && !this.frozen && this.network.on) this.server.command(JSON.parse(text), this.conn, (m) => this.conn.say(m));
    });
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

export class Storage {
  items = new Map();
  getItem(key) {
    return this.items.get(key) ?? null;
  }
  setItem(key, value) {
    this.items.set(key, value);
  }
}

/** A client in a world of its own, and what its page sees. */
export function world({ connect }, { seed = 1, options = {}, room = "lobby", roomOptions = {}, setUp = () => {} } = {}) {
  const clock = new Clock(seed);
  const server = new Server(clock);
  const network = new Network(clock, server);
  setUp({ clock, server, network });
  const make = (o = {}) => connect("http://server.test", { clock, fetch: network.fetch, WebSocket: network.WebSocket, storage: null, ...options, ...o });
  const client = make();
  const w = { clock, server, network, client, make, got: [], gaps: [], states: [], acks: [], errors: [] };
  client.on("state", (e) => w.states.push({ at: clock.now(), ...e }));
  if (room) {
    w.room = client.room(room, roomOptions);
    w.room.on("message", (m) => w.got.push({ at: clock.now(), ...m }));
    w.room.on("gap", (g) => w.gaps.push({ at: clock.now(), ...g }));
  }
  w.publish = (data, o) => w.room.publish(data, o).then((p) => w.acks.push({ at: clock.now(), data, ...p }), (e) => w.errors.push({ at: clock.now(), data, e }));
  w.ready = (ms = 60000) => clock.run(ms, () => client.state == "connected");
  w.on = (transport, ms = 60000) => clock.run(ms, () => client.state == "connected" && client.transport == transport);
  return w;
}

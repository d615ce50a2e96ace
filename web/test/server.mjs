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
  /** What a gateway in front of it wants. */
  token = null;
  limit = 1000;
  /** The longest frame of a WebSocket. */
  mostFrame = 1 << 20;
  /** Codes by the names of rooms that are refused. */
  refused = {};
  /** How many rooms one reader may have. */
  mostRooms = 100;

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

  /** What is wrong with a list of rooms. */
  refusal(rooms) {
    const room = rooms.find((name, i) => this.refused[name] || i >= this.mostRooms);
    return room && { code: this.refused[room] || "too_many_rooms", message: "refused", room };
  }

  error(status, code, more) {
    return { status, body: JSON.stringify({ protocol: 1, error: { code, message: code, ...more } }), headers: more && more.retry_after_ms ? { "retry-after": String(Math.ceil(more.retry_after_ms / 1000)) } : {} };
  }

  /** A plain request. Resolves with {status, body, headers}, or {status, stream}. */
  async answer(method, path, params, body, gone, bearer) {
    if (this.token && ![params.token, bearer].includes(this.token)) return { status: 401, body: "<h1>Who are you?</h1>" };
    const ok = (value, status = 200) => ({ status, body: JSON.stringify(value) });
    if (path == "/publish") {
      if (body.length > this.limit * 1000) return this.error(413, "body_too_large");
      const list = JSON.parse(body);
      return ok({ protocol: 1, results: list.map((m) => this.publish(m)) });
    }
    const [, , names, what] = path.split("/");
    if (method == "POST" && !what) {
      const { status, error, ...result } = this.publish({ room: names, data: JSON.parse(body), key: params.key });
      return error ? this.error(status, error.code) : ok(result, status);
    }
    if (method == "POST") params = { ...Object.fromEntries(new URLSearchParams(body)), ...params };
    const rooms = names.split(",");
    const no = this.refusal(rooms);
    if (no) return this.error(400, no.code, no);
    if (what == "poll") return this.poll(rooms, params, gone, ok);
    if (what == "sse") return { status: 200, stream: (write, end) => this.read(rooms, params, write, end) };
    if (what == "presence") return ok({ protocol: 1, room: names, members: [], count: 0 });
    if (what == "history") {
      const { out, end } = this.from(names, { cursor: params.after, last: params.limit || 100 });
      return ok({ protocol: 1, room: names, messages: out, cursor: end, more: false });
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
        const error = this.refusal([...conn.joined.keys(), c.room]);
        if (error) return reply({ type: "reply", ref: c.ref, ok: false, error });
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

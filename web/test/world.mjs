// A world for the client: a clock that is moved by hand, a server that speaks the protocol, and a network between them
// that can be told to misbehave. All of it is in this process, so that hours pass in milliseconds.
//
// To extend: a new misbehaviour is a field of Network that `fetch` or `Socket` looks at; a new feature of the protocol
// is a branch of Server.answer (plain requests) or Server.command (WebSocket): network.mjs and server.mjs.
import { Network } from "./network.mjs";
import { Server } from "./server.mjs";

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

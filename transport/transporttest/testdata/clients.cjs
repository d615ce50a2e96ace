// npm's ws and eventsource against a server at argv[2]; argv[3] is a way to it
// that GET /test/cut breaks, argv[4] what is agreed on of the extensions. It prints "ok" last where everything is right.
'use strict';
const assert = require('node:assert');
const WebSocket = require('ws');
const eventsource = require('eventsource');
const EventSource = eventsource.EventSource || eventsource;

const [base, cuttable, extension] = process.argv.slice(2);
const wsBase = base.replace('http', 'ws');

// inbox collects what comes, for code that waits for one thing after another.
function inbox() {
  const waiting = [], queue = [];
  return {
    put(x) { waiting.length ? waiting.shift()(x) : queue.push(x); },
    next() { return queue.length ? Promise.resolve(queue.shift()) : new Promise((r) => waiting.push(r)); },
  };
}

// open's next is whatever comes but heartbeats, which come between anything.
async function open(url, options) {
  const ws = new WebSocket(url, options);
  const box = inbox(), beats = inbox();
  ws.on('message', (data, binary) => {
    const m = binary ? { binary } : JSON.parse(data.toString());
    (m.type === 'heartbeat' ? beats : box).put(m);
  });
  ws.on('close', (code, reason) => box.put({ type: 'close', code, reason: reason.toString() }));
  ws.on('error', (error) => box.put({ type: 'failed', error }));
  await new Promise((resolve, reject) => { ws.on('open', resolve); ws.on('error', reject); });
  return { ws, next: box.next, beat: beats.next };
}

async function publish(room, data) {
  const res = await fetch(`${base}/rooms/${room}`, { method: 'POST', body: JSON.stringify(data) });
  assert.equal(res.status, 201);
  return res.json();
}

async function websocket() {
  const a = await open(`${wsBase}/rooms/lobby?heartbeat=1`);
  let pings = 0;
  a.ws.on('ping', () => pings++);
  const hello = await a.next();
  assert.equal(hello.type, 'hello');
  assert.equal(hello.protocol, 1);

  await publish('lobby', { text: 'hello' });
  const first = await a.next();
  assert.deepEqual([first.type, first.offset, first.data], ['message', 1, { text: 'hello' }]);

  // A command, whole and in fragments, and a large one.
  a.ws.send(JSON.stringify({ type: 'publish', ref: 1, room: 'other', data: 'x' }));
  const reply = await a.next();
  assert.deepEqual([reply.type, reply.ref, reply.ok, reply.room, reply.offset], ['reply', 1, true, 'other', 1]);
  a.ws.send('{"type":"pi', { fin: false });
  a.ws.send('ng","ref"', { fin: false });
  a.ws.ping('in between');
  a.ws.send(':2,"size":60000}', { fin: true });
  const pong = await a.next();
  assert.deepEqual([pong.ref, pong.fill.length], [2, 60000]);
  const large = 'é'.repeat(32000);
  a.ws.send(JSON.stringify({ type: 'publish', room: 'lobby', data: large }));
  const echoed = await a.next();
  assert.equal(echoed.data, large);

  // Pings are answered by the library: the connection outlives three heartbeats.
  for (let beats = 0; beats < 5; beats++) await a.beat();
  assert.ok(pings >= 4, `${pings} pings`);

  // The library asks for compression, which is declined unless it is set.
  const [agreed] = extension.split(';');
  assert.equal(a.ws.extensions, agreed);
  // One frame for all clients cannot have a small window for one of them.
  const small = await open(`${wsBase}/rooms/lobby?last=1`, { perMessageDeflate: { serverMaxWindowBits: 10, clientNoContextTakeover: true } });
  assert.equal(small.ws.extensions, '');
  await small.next();
  assert.equal((await small.next()).data, large);
  small.ws.terminate();
  const late = await open(`${wsBase}/rooms/lobby?last=1`, { perMessageDeflate: { threshold: 0 } });
  assert.equal(late.ws.extensions, agreed);
  await late.next();
  assert.equal((await late.next()).data, large);
  late.ws.send(JSON.stringify({ type: 'ping', ref: 'short' }));
  assert.equal((await late.next()).ref, 'short');
  late.ws.send(JSON.stringify({ type: 'ping', data: 'x'.repeat(2 << 20) })); // a few KB as it is sent
  const over = await late.next();
  assert.deepEqual([over.type, over.code], ['bye', 'frame_too_large']);
  assert.equal((await late.next()).code, 1009);

  a.ws.close(4321, 'enough');
  const end = await a.next();
  assert.deepEqual([end.type, end.code], ['close', 4321]);

  const b = await open(`${wsBase}/rooms/lobby?cursor=${encodeURIComponent(hello.cursor)}`);
  assert.equal((await b.next()).type, 'hello');
  assert.deepEqual([(await b.next()).offset, (await b.next()).offset], [1, 2]);
  b.ws.send(Buffer.from('{}'));
  const bye = await b.next();
  assert.deepEqual([bye.type, bye.code], ['bye', 'binary_frame']);
  assert.equal((await b.next()).code, 1003);

  const refused = await open(`${wsBase}/rooms/bad!`);
  assert.equal((await refused.next()).error.code, 'bad_room');
  assert.equal((await refused.next()).code, 4410);

  const page = await open(`${wsBase}/ws/chat/tutorial/`);
  page.ws.send(JSON.stringify({ message: 'hi' }));
  assert.deepEqual(await page.next(), { message: 'hi' });
  page.ws.terminate();
}

async function eventSource() {
  const es = new EventSource(`${cuttable}/rooms/feed/sse`);
  const box = inbox();
  let opened = 0;
  es.onopen = () => opened++;
  es.onmessage = (e) => box.put({ ...JSON.parse(e.data), id: e.lastEventId });
  const hellos = inbox();
  es.addEventListener('hello', (e) => hellos.put(JSON.parse(e.data)));
  const hello = await hellos.next();
  assert.deepEqual(hello.rooms, ['feed']);

  await publish('feed', 1);
  const first = await box.next();
  assert.deepEqual([first.offset, first.data], [1, 1]);
  assert.equal(first.id, `feed=${first.epoch}.1.${first.id.split('.')[2]}`);

  // The connection breaks, three messages pass, and EventSource goes on by
  // itself after what it has.
  await fetch(`${base}/test/cut`);
  for (const n of [2, 3, 4]) await publish('feed', n);
  for (const n of [2, 3, 4]) assert.equal((await box.next()).data, n);
  assert.equal((await hellos.next()).type, 'hello');
  assert.ok(opened >= 2);
  es.close();
}

const bound = setTimeout(() => { console.error('not done in time'); process.exit(1); }, 60_000);
Promise.all([websocket(), eventSource()]).then(
  () => { clearTimeout(bound); console.log('ok'); process.exit(0); },
  (error) => { console.error(error); process.exit(1); },
);

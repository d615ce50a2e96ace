// WebSocket, up to the proof that a client wants, and how long one lives.
import { now, pause } from "./net";
import { Fate, noWebSocket, Run, spent } from "./run";
import { Socket } from "./socket";

export async function sockets(run: Run) {
  const { patience } = run.times;
  const titles = ["First frames", "Frame of 16 KB each way"];
  let socket: Socket | undefined;
  const open = () => {
    if (socket) socket.close();
    socket = new Socket("");
    return socket.open(patience);
  };
  let state = await run.step("ws-handshake", "WebSocket handshake", async () => {
    const began = now();
    const trouble = await open();
    if (!trouble) return ["good", "accepted"];
    run.report.find(trouble == "silent" ? "ws_swallowed" : "ws_blocked");
    return ["note", trouble == "silent" ? "no answer in time" : "failed after " + Math.round(now() - began) + " ms"];
  });
  let tried = false;
  /** The socket, or another one where a test is made again. */
  const ready = async () => {
    if (tried) await open();
    tried = true;
    return socket!;
  };
  if (state != "good") await run.skip("ws-frame", titles[0], noWebSocket);
  else {
    state = await run.step("ws-frame", titles[0], async () => {
      const began = now();
      const socket = await ready();
      let trouble = await socket.next(patience);
      if (typeof trouble != "string") trouble = await socket.ping(patience, 16);
      if (!trouble) return ["good", "an echo after " + Math.round(now() - began) + " ms"];
      run.report.find(trouble == "corrupt" ? "ws_corrupt" : trouble == "ended" ? "ws_broken" : "ws_silent");
      return ["note", trouble == "corrupt" ? "what came is not what was sent" : trouble == "ended" ? "it breaks" : "nothing comes"];
    });
  }
  tried = false;
  if (state != "good") await run.skip("ws-large", titles[1], noWebSocket);
  else {
    await run.step("ws-large", titles[1], async () => {
      const trouble = await (await ready()).ping(2 * patience, 16384);
      run.shown.websocket = !trouble;
      if (!trouble) return ["good", "both arrived"];
      if (!run.report.has("answers_cut")) run.report.find("ws_large"); // else it is not about WebSocket
      return ["note", trouble == "silent" ? "nothing comes" : "the connection was closed"];
    });
  }
  if (socket) (socket as Socket).close();
}

/** Opens a WebSocket on which the server stays quiet. */
async function longSocket(run: Run): Promise<Socket | undefined> {
  const socket = new Socket("?heartbeat=60");
  if (!(await socket.open(run.times.patience)) && typeof (await socket.next(run.times.patience)) != "string") return socket;
  socket.close();
  return undefined;
}

export async function busySocket(run: Run): Promise<Fate> {
  const socket = await longSocket(run);
  if (!socket) return spent;
  const began = now();
  while (now() - began < run.times.idle) {
    const sent = now();
    const trouble = await socket.ping(run.times.patience, 16);
    if (trouble) {
      socket.close();
      return { end: trouble == "silent" ? "silent" : "cut", ms: sent - began, drained: socket.drained };
    }
    await pause(Math.min(1000, run.times.idle / 4));
  }
  socket.close();
  return { end: "lasted", ms: now() - began };
}

export async function idleSocket(run: Run): Promise<Fate> {
  const socket = await longSocket(run);
  if (!socket) return spent;
  const began = now();
  let trouble: any;
  do trouble = await socket.next(began + run.times.idle - now());
  while (typeof trouble == "object"); // a heartbeat
  if (socket.drained) trouble = await socket.next(run.times.patience); // after the word comes the end
  const ms = now() - began;
  if (trouble == "silent") trouble = await socket.ping(run.times.patience, 16); // as it should be: is it alive?
  socket.close();
  return { end: trouble == "ended" ? "cut" : trouble ? "silent" : "lasted", ms, drained: socket.drained };
}

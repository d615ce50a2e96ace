// The tests that only wait. They begin as soon as there is something to wait
// for, and run beside the others.
import { ask, now, once, pause, readEcho, room, words } from "./net";
import { Fate, Run, seconds, spent } from "./run";

type Waits = { [K in "busy" | "idle" | "flow" | "poll"]: undefined | (() => Promise<Fate>) };

/** Waits for the tests that only wait. */
export async function waiting(run: Run, waits: Waits) {
  const { idle, wait } = run.times;
  const longest = Math.max(idle, wait);
  let fates: Fate[] = [];
  const left = run.crowded ? longest : Math.max(1, run.until - now());
  await run.step(
    "waiting",
    "Long connections, " + seconds(longest) + " s",
    async () => {
      fates = await Promise.all([waits.busy, waits.idle, waits.flow, waits.poll].map((fate) => (fate ? fate() : spent)));
      const whole = fates.every((f) => f.end == "lasted" || f.end == "spent");
      if (!whole && (await goneNow(run))) return ["bad", "the server went out of reach"];
      judgeWaiting(run, fates[0], fates[1], fates[2], fates[3]);
      return whole ? ["good", "all lived as long"] : ["note", "not all lived as long"];
    },
    left,
  );
  const ids: [string, string][] = [
    ["ws-busy", "WebSocket in use"],
    ["ws-idle", "WebSocket without traffic"],
    ["stream-long", "Stream with an event a second"],
    ["poll-long", "Longest poll"],
  ];
  for (let i = 0; i < ids.length; i++) {
    const { end, ms } = fates[i];
    const lasted = ids[i][0] == "poll-long" ? "answered after " : "alive after ";
    const text = (end == "lasted" ? lasted : end == "silent" ? "silent after " : "cut after ") + seconds(ms) + " s";
    await run.step(ids[i][0], ids[i][1], async () => (end == "spent" ? ["skipped", ""] : [end == "lasted" ? "good" : "note", text]));
  }
}

/**
 * Looks whether the server is still there where something was cut. A server that
 * has ended took everything with it, which is no limit of a network. Silence says
 * little: a browser may ask on a connection that was forgotten.
 */
async function goneNow(run: Run): Promise<boolean> {
  for (let tries = 1; ; tries++) {
    const path = once("/doctor/echo");
    const answer = await ask(run.times.patience, path);
    if (answer.silent || readEcho(answer, path)) return false;
    if (tries == 4) {
      run.report.find("gone", { error: words(answer) });
      return true;
    }
    await pause(500);
  }
}

/** Asks for a poll as long as the protocol allows. What fails at once has not failed for its length. */
export async function longPoll(run: Run): Promise<Fate> {
  const { wait, patience } = run.times;
  for (let tries = 1; ; tries++) {
    const answer = await ask(wait + patience, once("/rooms/" + room("wait") + "/poll?wait=" + Math.floor(wait / 1000)));
    if (answer.status == 200) return { end: "lasted", ms: answer.ms };
    if (answer.silent) return { end: "silent", ms: wait };
    if (answer.ms > 1000 || tries == 3) return { end: "cut", ms: answer.ms };
    run.failed++;
  }
}

/** Tells one cause from another by what else lived on. */
function judgeWaiting(run: Run, busy: Fate, idle: Fate, flow: Fate, poll: Fate) {
  const report = run.report;
  const after = (fate: Fate) => ({ seconds: seconds(fate.ms) });
  run.websocketLasts = busy.end == "lasted" && idle.end == "lasted";
  if (busy.end == "silent") report.find("ws_goes_silent", after(busy));
  if (busy.end == "cut") report.find("ws_age", after(busy));
  if (busy.end == "lasted" && idle.end == "silent") report.find("idle_forgotten", after(idle));
  if (busy.end == "lasted" && idle.end == "cut") report.find("idle_cut", after(idle));
  if (flow.end == "cut" || flow.end == "silent") return report.find("response_cap", after(flow));
  if (poll.end == "silent") report.find("idle_forgotten", after(poll));
  if (poll.end == "cut") report.find(flow.end == "lasted" ? "idle_cut" : "poll_cut", after(poll));
}

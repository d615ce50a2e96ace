// The tests that only wait. They begin as soon as there is something to wait
// for, and run beside the others.
import { ask, now, once, room, saysDraining } from "./net";
import { Fate, notJudged, noWebSocket, onceMore, Result, Run, seconds, Wait, wentAway } from "./run";

type Waits = { [K in "busy" | "idle" | "flow" | "poll"]: undefined | Wait };

/** Waits for the tests that only wait, and again for those that the server's own restart fell into. */
export async function waiting(run: Run, waits: Waits) {
  const longest = Math.max(run.times.idle, run.times.wait);
  const all = [waits.busy, waits.idle, waits.flow, waits.poll];
  const none = (why: string): Fate => ({ end: "spent", ms: 0, why });
  const fates = [none(noWebSocket), none(noWebSocket), none("no stream flows"), none("")];
  const title = (words: string) => words + ", " + seconds(longest) + " s";
  let restarted = false;
  const make = (again: boolean) => async (): Promise<Result> => {
    restarted = false;
    if (run.gone) return ["bad", wentAway];
    const result = await outlive(run, all, fates, again);
    restarted = result[1] == notJudged;
    return restarted && !again ? [result[0], onceMore] : result;
  };
  await run.tell("waiting", title("Long connections"), make(false), run.shown.crowded ? longest : Math.max(1, run.until - now()));
  if (restarted) {
    run.report.find("restarted");
    await run.tell("waiting-again", title("Long connections again"), make(true), longest);
  }
  if (!run.gone) judgeWaiting(run, fates[0], fates[1], fates[2], fates[3]);
  const named: [string, string][] = [
    ["ws-busy", "WebSocket in use"],
    ["ws-idle", "WebSocket without traffic"],
    ["stream-long", "Stream with an event a second"],
    ["poll-long", "Longest poll"],
  ];
  for (let i = 0; i < named.length; i++) {
    const { end, ms, why } = fates[i];
    const lasted = named[i][0] == "poll-long" ? "answered after " : "alive after ";
    const text = (end == "lasted" ? lasted : end == "silent" ? "silent after " : "cut after ") + seconds(ms) + " s";
    await run.tell(named[i][0], named[i][1], async () => (end == "spent" ? ["skipped", run.gone ? wentAway : why || ""] : [end == "lasted" ? "good" : "note", text]));
  }
}

/** Notes what became of all tests, or of those that are made again. */
async function outlive(run: Run, all: (Wait | undefined)[], fates: Fate[], again: boolean): Promise<Result> {
  all.forEach((wait, i) => {
    if (wait && (!again || fates[i].why == notJudged)) run.begin(wait);
  });
  for (let i = 0; i < all.length; i++) {
    const wait = all[i];
    if (!wait || !wait.fate) continue;
    fates[i] = await wait.fate;
    wait.fate = undefined;
  }
  if (fates.every((f) => f.end == "lasted" || f.end == "spent")) return ["good", "all lived as long"];
  // A server that has ended took everything with it, which is no limit of a network.
  await run.look();
  if (run.gone) return ["bad", wentAway];
  let result: Result = ["note", "not all lived as long"];
  all.forEach((wait, i) => {
    if (!wait || fates[i].end == "lasted" || (!fates[i].drained && wait.lives == run.lives)) return;
    fates[i] = { end: "spent", ms: 0, why: notJudged };
    result = ["skipped", notJudged];
  });
  return result;
}

/** Asks for a poll as long as the protocol allows. What fails at once has not failed for its length. */
export async function longPoll(run: Run): Promise<Fate> {
  const { wait, patience } = run.times;
  for (let tries = 1; ; tries++) {
    const answer = await ask(wait + patience, once("/rooms/" + room("wait") + "/poll?wait=" + Math.floor(wait / 1000)));
    if (saysDraining(answer.text)) return { end: "cut", ms: answer.ms, drained: true };
    if (answer.status == 200) return { end: "lasted", ms: answer.ms };
    if (answer.silent) return { end: "silent", ms: wait };
    if (answer.ms > 1000 || tries == 3) return { end: "cut", ms: answer.ms };
    run.shown.failed++;
  }
}

/** Tells one cause from another by what else lived on. */
function judgeWaiting(run: Run, busy: Fate, idle: Fate, flow: Fate, poll: Fate) {
  const report = run.report;
  const after = (fate: Fate) => ({ seconds: seconds(fate.ms) });
  run.shown.websocketLasts = [busy, idle].every((fate) => fate.end == "lasted" || fate.why == notJudged);
  if (busy.end == "silent") report.find("ws_goes_silent", after(busy));
  if (busy.end == "cut") report.find("ws_age", after(busy));
  if (busy.end == "lasted" && idle.end == "silent") report.find("idle_forgotten", after(idle));
  if (busy.end == "lasted" && idle.end == "cut") report.find("idle_cut", after(idle));
  if (flow.end == "cut" || flow.end == "silent") return report.find("response_cap", after(flow));
  if (poll.end == "silent") report.find("idle_forgotten", after(poll));
  if (poll.end == "cut") report.find(flow.end == "lasted" ? "idle_cut" : "poll_cut", after(poll));
}

// The doctor's tests, one after another. Those of the command "culvert doctor"
// are the same, but for what a browser is not told.
import { clock, connections, filters } from "./limits";
import { count } from "./net";
import { plain } from "./plain";
import { repeat } from "./repeat";
import type { Report, Step } from "./report";
import { Run, Times } from "./run";
import { busySocket, idleSocket, sockets } from "./sockets";
import { busyStream, streams } from "./streams";
import { longPoll, waiting } from "./waiting";

/** How many tests there are, for a progress bar. */
export const total = 20;

/** Makes all tests. progress hears of each when it begins, without a state, and when it has ended. */
export async function diagnose(times: Times, progress: (step: Step) => void): Promise<Report> {
  const run = new Run(times, progress);
  const { idle, wait } = times;
  const works = await plain(run);
  if (works) {
    await repeat(run);
    await connections(run); // while nothing else takes any of them
    const poll = run.beside(wait, () => longPoll(run));
    await sockets(run);
    const lives = run.websocket ? [() => busySocket(run), () => idleSocket(run)].map((life) => run.beside(idle, life)) : [];
    await streams(run);
    const { flowing } = run;
    const flow = flowing && run.beside(Math.max(idle, wait), () => busyStream(run, flowing));
    await filters(run);
    await clock(run);
    await waiting(run, { busy: lives[0], idle: lives[1], flow, poll });
  }
  conclude(run, works);
  return run.report;
}

function conclude(run: Run, works: boolean) {
  const report = run.report;
  report.works = works && !report.has("gone");
  if (!works) {
    report.verdict = "Culvert cannot be reached on this path.";
    return;
  }
  if (report.has("gone")) {
    report.verdict = "Culvert went out of reach during the tests.";
    return;
  }
  if (run.failed && !report.has("answers_cut") && !report.has("busy")) report.find("flaky", { failed: run.failed, total: count() });
  if (!report.findings.length) report.find("clear");
  if (run.websocket && run.websocketLasts) report.verdict = "Culvert works here over a WebSocket.";
  else if (run.websocket && !report.has("ws_goes_silent")) report.verdict = "Culvert works here over a WebSocket that is renewed in time.";
  else if (run.flowing) report.verdict = "Culvert works here over a stream (" + run.flowing.name + ").";
  else report.verdict = "Culvert works here by polling: each message comes as the answer to a request that waits for it.";
  if (!run.canPost) report.verdict += " Publishing needs a WebSocket here.";
}

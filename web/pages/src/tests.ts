// The doctor's tests, one after another. Those of the command "culvert doctor"
// are the same, but for what a browser is not told.
import { clock, connections, filters } from "./limits";
import { count } from "./net";
import { plain } from "./plain";
import { repeat } from "./repeat";
import type { Mark, Report, Step } from "./report";
import { Run, Times, Wait, why } from "./run";
import { busySocket, idleSocket, sockets } from "./sockets";
import { busyStream, streams } from "./streams";
import { longPoll, waiting } from "./waiting";

/** How many tests there are, for a progress bar. */
export const total = 21;

/** Makes all tests, whose results are in report at any time. progress hears of each when it begins, without a state, and when it has ended. */
export async function diagnose(report: Report, times: Times, progress: (step: Step) => void) {
  const run = new Run(report, times, progress);
  const { idle, wait } = times;
  /** What fails in one part of the tests leaves the others. */
  const part = (title: string, tests: () => Promise<unknown>) => tests().catch((error) => report.miss(title, why(error)));
  const plainly = await plain(run);
  if (plainly != "bad" && plainly != "skipped") {
    let poll: Wait | undefined, busy: Wait | undefined, quiet: Wait | undefined, flow: Wait | undefined;
    await part("Repeated requests", () => repeat(run));
    await part("Requests at the same time", () => connections(run)); // while nothing else takes any of them
    poll = run.beside("Longest poll", wait, () => longPoll(run));
    await part("WebSocket", () => sockets(run));
    if (run.shown.websocket) {
      busy = run.beside("WebSocket in use", idle, () => busySocket(run));
      quiet = run.beside("WebSocket without traffic", idle, () => idleSocket(run));
    }
    await part("Streams", () => streams(run));
    const { flowing } = run.shown;
    if (flowing) flow = run.beside("Stream with an event a second", Math.max(idle, wait), () => busyStream(run, flowing));
    await part("What is taken out of requests", () => filters(run));
    await part("Clock", () => clock(run));
    await part("Long connections", () => waiting(run, { busy, idle: quiet, flow, poll }));
  }
  conclude(run, plainly);
}

function conclude(run: Run, plainly: Mark) {
  const { report, shown } = run;
  const missed = report.tellMissed();
  if (run.gone) report.find("gone", { error: run.gone });
  report.works = plainly != "bad" && plainly != "skipped" && !run.gone;
  if (!report.works) {
    if (run.gone) report.verdict = "Culvert went out of reach during the tests.";
    else report.verdict = plainly == "bad" ? "Culvert cannot be reached on this path." : "Whether Culvert works here could not be tested.";
    return;
  }
  if (shown.failed && !report.has("answers_cut") && !report.has("busy")) report.find("flaky", { failed: shown.failed, total: count() });
  if (report.findings.every((finding) => finding.code == "restarted")) report.find("clear");
  if (shown.websocket && shown.websocketLasts) report.verdict = "Culvert works here over a WebSocket.";
  else if (shown.websocket && !report.has("ws_goes_silent")) report.verdict = "Culvert works here over a WebSocket that is renewed in time.";
  else if (shown.flowing) report.verdict = "Culvert works here over a stream (" + shown.flowing.name + ").";
  else report.verdict = "Culvert works here by polling: each message comes as the answer to a request that waits for it.";
  if (!shown.canPost) report.verdict += shown.websocket ? " Publishing needs a WebSocket here." : " Nothing can be published: neither POST nor a WebSocket gets through.";
  if (missed) report.verdict += " Not everything could be tested.";
}

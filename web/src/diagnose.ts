import type * as api from "./api";
import type { Connection } from "./connection";
import { params, unique } from "./env";
import type { Line, Owner } from "./pipe";
import { foreign, none } from "./errors";
import { Stream, forms } from "./stream";
import { Ws } from "./ws";

/**
 * Tests one thing after the other, on connections of its own and with a room of its own where nothing comes, so that what
 * is in use neither disturbs nor is disturbed.
 */
export async function diagnose(c: Connection, onFinding: (f: api.Finding) => void = none): Promise<api.Report> {
  const { http, env } = c;
  const room = "culvert-doctor-" + unique(env);
  const owner: Owner = { receive: none, proven: none, opened: none, ended: none };
  const proof = async (pipe: Line) => {
    const verdict = await pipe.verdict;
    pipe.close();
    return verdict;
  };
  /** The server's clock minus ours, in milliseconds. */
  let clock: number | undefined;
  const poll = async (wait: number) => {
    const began = env.now();
    const a = await http.json("/rooms/" + room + "/poll", params({ wait }), undefined, wait);
    clock = a.time - env.date() + http.roundTrip / 2;
    return env.now() - began >= wait * 900 ? "good" : foreign().message;
  };

  const tests: [string, () => Promise<string>][] = [
    ["plain request", () => poll(0)],
    ["WebSocket, 16 KiB", () => proof(new Ws(owner, http, http.address("/rooms/" + room + "/ws", "")))],
    ...forms.map(({ post, accept, pad }, i): [string, () => Promise<string>] => [
      "stream " + (post ? "POST " : "GET ") + accept + (pad ? " padded" : ""),
      () => proof(new Stream(owner, http, i, room, "")),
    ]),
    ["poll of 20 s", () => poll(20)],
  ];

  const findings: api.Finding[] = [];
  for (const [test, run] of tests) {
    const began = env.now();
    const result = await run().catch((e) => e.message);
    const f = { test, ok: result == "good", ms: Math.round(env.now() - began), result };
    findings.push(f);
    onFinding(f);
  }
  const { state, transport, reason } = c;
  const report: any = { url: http.base, state, transport, reason, clock: clock && Math.round(clock), rtt: Math.round(http.roundTrip), learned: c.habits.kept, findings };
  report.text = JSON.stringify(report, null, 1);
  return report;
}

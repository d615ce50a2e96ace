import type * as api from "./api";
import type { Connection } from "./connection";
import { CulvertError, asError } from "./errors";
import type { Line, Owner } from "./pipe";
import { Stream, forms } from "./stream";
import { Ws } from "./ws";

/** Tests one thing after the other, on connections of its own, so that what is in use is not disturbed. */
export async function diagnose(c: Connection, onFinding?: (f: api.Finding) => void): Promise<api.Report> {
  const { http, env } = c;
  const own = c.rooms.size ? undefined : c.room("culvert-doctor");
  const { rooms, query } = c.target();
  const findings: api.Finding[] = [];
  let error: CulvertError | undefined;
  const quiet = () => {};
  const owner: Owner = { receive: quiet, proven: quiet, opened: quiet, ended: (_, e) => (error = e) };
  const proof = (pipe: Line) => pipe.verdict.then(() => pipe.close());

  const tests: [string, () => Promise<unknown>][] = [
    ["plain request", () => c.pollOnce(0, 10e3)],
    ["plain request again", () => c.pollOnce(0, 10e3)],
    [
      "WebSocket, 16 KiB",
      () => proof(new Ws(owner, http, http.address("/rooms/" + rooms + "/ws", query))),
    ],
  ];
  forms.forEach(({ post, accept, pad }, i) =>
    tests.push([
      "stream " + (post ? "POST " : "GET ") + accept + (pad ? " padded" : ""),
      () => proof(new Stream(owner, http, i, rooms, query)),
    ]),
  );
  tests.push(["poll of 20 s", () => c.pollOnce(20, 30e3)]);

  for (const [test, run] of tests) {
    const began = env.now();
    error = undefined;
    await run().catch((e) => (error = asError(e)));
    const { message, code } = error || ({ message: "good" } as CulvertError);
    const f = { test, ok: !error, ms: Math.round(env.now() - began), result: message, code };
    findings.push(f);
    if (onFinding) onFinding(f);
  }
  if (own) own.close();
  const { state, transport, reason } = c;
  const report: any = { url: http.base, state, transport, reason, clock: Math.round(http.skew), rtt: Math.round(http.rtt), learned: c.habits.kept, findings };
  report.text = JSON.stringify(report, null, 1);
  return report;
}

import type * as api from "./api";
import type { Connection } from "./connection";
import { asError } from "./errors";
import type { Owner } from "./pipe";
import { Stream, forms } from "./stream";
import { Ws } from "./ws";

/** Tests one thing after the other on connections of its own, so that what is in use is not disturbed. */
export async function diagnose(c: Connection, onFinding: (f: api.Finding) => void = () => {}): Promise<api.Report> {
  const { http, env } = c;
  const findings: api.Finding[] = [];
  const room = Array.from(c.rooms.keys())[0] || "culvert-doctor";
  const path = "/rooms/" + room;
  // As itself, so that nobody seems to join.
  const id = "client=" + c.id;
  const quiet: Owner = { receive() {}, proven() {}, ended() {} };

  /** A test gives its result in words, or throws what is wrong. */
  async function test(name: string, run: () => Promise<string>) {
    const began = env.clock.now();
    let ok = true;
    let result: string;
    try {
      result = await run();
    } catch (e) {
      ok = false;
      result = asError(e).message;
    }
    const f = { test: name, ok, ms: Math.round(env.clock.now() - began), result };
    findings.push(f);
    onFinding(f);
  }

  const poll = async (wait: number, post?: boolean) => {
    const query = id + "&wait=" + wait;
    const began = env.clock.now();
    const a = await http.json(path + "/poll", post ? "" : query, post ? query : undefined, wait * 1000 + 10e3);
    if (a.protocol != 1) throw new Error("an answer that is not Culvert's");
    if (!wait) http.measured(env.clock.now() - began);
    http.clock(a.time);
    return "answered";
  };

  await test("plain request", () => poll(0));
  await test("plain request, again", () => poll(0));
  await test("POST request", () => poll(0, true));
  await test("WebSocket, 16 KiB each way", async () => {
    if (!env.WebSocket) throw new Error("there is no WebSocket here");
    await new Promise<void>((proven, no) => {
      const ws: Ws = new Ws(
        Object.assign({}, quiet, {
          proven: () => {
            ws.close();
            proven();
          },
          ended: (_: unknown, end: { error: Error }) => no(end.error),
        }),
        http,
        http.address(path + "/ws", id),
      );
    });
    return "proven by a round trip";
  });
  for (let form = 0; form < forms.length; form++) {
    const { post, accept, pad } = forms[form];
    await test("stream, " + (post ? "POST " : "GET ") + accept + (pad ? ", padded" : ""), async () => {
      const stream = new Stream(quiet, http, form, room, id);
      const verdict = await stream.verdict;
      stream.close();
      if (verdict != "good") throw new Error(verdict);
      return verdict;
    });
  }
  await test("poll of 20 s", () => poll(20));

  const report = {
    url: http.base,
    state: c.state,
    transport: c.transport,
    reason: c.reason,
    findings,
    clock: Math.round(http.skew),
    rtt: Math.round(http.rtt),
    learned: c.habits.memory.all(),
  };
  const text = [
    "Culvert at " + report.url,
    report.state + ", " + report.transport + ": " + report.reason,
    ...findings.map((f) => (f.ok ? "ok    " : "fails ") + f.test + ": " + f.result + " (" + f.ms + " ms)"),
    "clock " + report.clock + " ms ahead, round trip " + report.rtt + " ms, learned " + JSON.stringify(report.learned),
  ];
  return Object.assign(report, { text: text.join("\n") });
}

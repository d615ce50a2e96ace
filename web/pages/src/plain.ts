// Whether plain requests get through at all, and what they show of the way.
import { Answer, ask, once, parse, pause, retryAfter, words } from "./net";
import type { Mark } from "./report";
import { Run } from "./run";

export async function plain(run: Run): Promise<Mark> {
  const report = run.report;
  const state = await run.tell("plain", "Plain request", async () => {
    let { echo, answer } = await run.echo();
    for (let waits = 0; !echo && waits < 2 && retryAfter(answer); waits++) {
      report.find("busy", { status: answer.status });
      await pause(Math.min(retryAfter(answer), run.times.patience));
      ({ echo, answer } = await run.echo());
    }
    if (!echo) {
      hopeless(run, answer);
      return ["bad", words(answer)];
    }
    run.shown.rtt = answer.ms;
    for (let i = 0; i < 4; i++) {
      const again = await run.echo();
      if (again.echo) run.shown.rtt = Math.min(run.shown.rtt, again.answer.ms);
    }
    report.from = echo.client;
    for (const name of ["via", "forwarded", "x-forwarded-for"]) {
      if (echo.headers[name] && !report.via) report.via = name + ": " + echo.headers[name];
    }
    let result = Math.round(run.shown.rtt) + " ms there and back";
    if (echo.protocol != "HTTP/1.1") result += ", " + echo.protocol;
    if (echo.protocol == "HTTP/1.0") report.find("http10");
    const lost = ["Cache-Control", "Content-Type", "Vary"].filter((name) => !answer.headers.get(name));
    if (lost.length) report.find("response_headers", { names: lost.join(", ") });
    if (run.shown.rtt > 400) {
      report.find("slow", { ms: Math.round(run.shown.rtt) });
      return ["note", result];
    }
    return ["good", result];
  });
  if (state == "bad" || state == "skipped") return state;
  await run.step("large", "Answer of 64 KB", async () => {
    let { echo, answer } = await run.echo("?size=65536");
    if (!echo && answer.silent) {
      answer = await ask(4 * run.times.patience, once("/doctor/echo?size=65536"));
      echo = parse(answer.text);
    }
    if (!echo || (echo.fill || "").length != 65536) {
      report.find("answers_cut");
      return ["note", "does not arrive whole"];
    }
    if (answer.ms - run.shown.rtt > 1000) {
      report.find("thin", { seconds: (answer.ms / 1000).toFixed(1) });
      return ["note", (answer.ms / 1000).toFixed(1) + " s"];
    }
    return ["good", Math.round(answer.ms) + " ms"];
  });
  return state;
}

/** Says why not even a plain request gets through. */
function hopeless(run: Run, answer: Answer) {
  const report = run.report;
  const json = parse(answer.text);
  if (answer.error) report.find("unreachable", { error: answer.error });
  else if (answer.status == 407) report.find("proxy_auth");
  else if (retryAfter(answer)) report.find("busy", { status: answer.status });
  else if (answer.status >= 502 && answer.status <= 504) report.find("server_down", { status: answer.status });
  else if (answer.status == 401) report.find("login");
  else if (answer.status < 400 && !json) report.find("portal", { status: answer.status });
  else report.find("foreign", { status: answer.status });
}

/** The server refuses its own page where a proxy in front of it has changed Host. */
export function foreignOrigin(run: Run, answer: Answer): boolean {
  const json = answer.status == 403 ? parse(answer.text) : undefined;
  const refused = !!(json && json.protocol == 1 && json.error && json.error.code == "origin_not_allowed");
  if (refused) run.report.find("origin", { host: location.host, origin: location.origin });
  return refused;
}

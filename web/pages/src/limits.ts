// What is taken out of requests, which of them do not get through, and how many
// at a time.
import { ask, Echo, now, once, parse, pause, refusal, room, words } from "./net";
import { foreignOrigin } from "./plain";
import { noPost, Run, seconds } from "./run";

export async function filters(run: Run) {
  const { patience } = run.times;
  await run.step("headers", "Headers of requests", async () => {
    const sent = ["Authorization", "Idempotency-Key", "Last-Event-ID"];
    const headers: { [name: string]: string } = {};
    for (const name of sent) headers[name] = "doctor";
    const { echo, answer } = await run.echo("", { headers });
    if (!echo) return ["skipped", words(answer)];
    const lost = sent.filter((name) => !echo.headers[name.toLowerCase()]).join(", ");
    if (!lost) return ["good", "all arrive"];
    run.report.find("headers_stripped", { names: lost });
    return ["note", "removed: " + lost];
  });
  await run.step("methods", "Methods", async () => {
    const lost: string[] = [];
    for (const method of ["HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"]) {
      let answer = await ask(patience, once("/doctor/echo"), { method });
      if (answer.error || answer.status >= 500) answer = await ask(patience, once("/doctor/echo"), { method });
      if (answer.status != 200 && !foreignOrigin(run, answer)) lost.push(method);
    }
    if (!lost.length) return ["good", "all pass"];
    run.report.find("methods_blocked", { names: lost.join(", ") });
    return ["note", "blocked: " + lost.join(", ")];
  });
  await run.step("addresses", "Long addresses", async () => {
    for (const bytes of [1500, 7500]) {
      const echo = await insist(run, "?x=" + "x".repeat(bytes));
      if (echo && echo.target >= bytes) continue;
      run.report.find("url_limit", { bytes });
      return ["note", "none of " + bytes + " bytes"];
    }
    return ["good", "pass"];
  });
  await run.step("bodies", "Long bodies", async () => {
    if (!run.shown.canPost) return ["skipped", noPost];
    for (const bytes of [4096, 32768]) {
      const echo = await insist(run, "", { method: "POST", body: "x".repeat(bytes), headers: { "Content-Type": "text/plain" } });
      if (echo && echo.body >= bytes) continue;
      run.report.find("body_limit", { bytes });
      return ["note", "none of " + bytes + " bytes"];
    }
    return ["good", "pass"];
  });
}

/** Asks more often where requests were lost before: there, a few failures say nothing of what was in the request. */
async function insist(run: Run, query: string, init?: RequestInit): Promise<Echo | undefined> {
  for (let more = run.shown.failed || run.report.has("answers_lost") ? 2 : 0; ; more--) {
    const { echo, answer } = await run.echo(query, init);
    if (echo || refusal(answer) || !more) return echo;
  }
}

/** A browser has six connections to a server; one of them asks how many of the others wait. */
export async function connections(run: Run) {
  const wanted = 5;
  await run.step("connections", "Requests at the same time", async () => {
    const name = room("many" + run.lives);
    const control = new AbortController();
    const poll = async (i: number) => {
      for (let tries = 0; tries < 3 && !control.signal.aborted; tries++) {
        await fetch(once("rooms/" + name + "/poll?wait=20&client=c" + i), { cache: "no-store", signal: control.signal }).then(
          (response) => response.text(),
          () => "",
        );
      }
    };
    const polls = Array.from({ length: wanted }, (_, i) => poll(i));
    let present = 0;
    for (const end = now() + run.times.patience; present < wanted && now() < end; await pause(100)) {
      const answer = parse((await ask(run.times.patience, once("/rooms/" + name + "/presence?limit=0"))).text);
      if (answer && answer.count) present = answer.count;
    }
    control.abort();
    await Promise.all(polls.map((poll) => poll.catch(() => {})));
    run.shown.crowded = present < 4;
    if (present < wanted) {
      run.report.find("connections", { count: present, wanted });
      return ["note", present + " of " + wanted];
    }
    return ["good", present + " of " + wanted];
  });
}

export async function clock(run: Run) {
  await run.step("clock", "Clock", async () => {
    const { echo, answer } = await run.echo();
    if (!echo) return ["skipped", words(answer)];
    const off = Math.abs(Date.now() - answer.ms / 2 - echo.time);
    if (off < 30000) return ["good", "agrees with the server's"];
    run.report.find("clock", { seconds: seconds(off) });
    return ["note", seconds(off) + " s apart"];
  });
}

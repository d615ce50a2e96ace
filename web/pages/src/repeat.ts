// What becomes of requests that are alike, and of those that change something.
import { Answer, ask, once, parse, pause, readEcho, refusal, room, words } from "./net";
import { foreignOrigin } from "./plain";
import { Result, Run } from "./run";

export async function repeat(run: Run) {
  const { patience } = run.times;
  await run.step("repeat", "The same request again", async () => {
    const path = once("/doctor/echo");
    const first = readEcho(await ask(patience, path), path);
    const second = readEcho(await ask(patience, path), path);
    if (first && second && first.id == second.id) {
      run.report.find("cached");
      return ["note", "answered with a kept answer"];
    }
    switch (await atOnce(run)) {
      case "merged":
        run.report.find("merged");
        return ["note", "two at a time are taken for one"];
      case "queued":
        run.report.find("queued");
        return ["note", "two at a time wait for each other"];
    }
    return ["good", "each gets an answer of its own"];
  });
  await run.step("publish", "Publishing by POST", async () => {
    const all = 10;
    const name = room("post" + run.lives); // what came of another try is not counted
    const answered: boolean[] = [];
    let last!: Answer;
    for (let i = 0; i < all; i++) {
      last = await ask(patience, "/rooms/" + name + "?m=" + i, { method: "POST", body: String(i), headers: { "Content-Type": "text/plain" } });
      answered[i] = last.status >= 200 && last.status < 300;
      if (refusal(last)) break; // nine more would be refused as well
    }
    const copies = await arrived(run, name);
    if (!copies) return ["skipped", "what arrived cannot be read"];
    return judgePublishes(run, answered, copies, all, last);
  });
}

function judgePublishes(run: Run, answered: boolean[], copies: Map<number, number>, all: number, last: Answer): Result {
  let arrived = 0;
  copies.forEach((n) => (arrived += n));
  if (!arrived) {
    run.shown.canPost = false;
    if (!foreignOrigin(run, last)) run.report.find("post_blocked");
    return ["bad", words(last)];
  }
  let result: Result = ["good", answered.filter(Boolean).length + " of " + all + " answered, each arrived once"];
  const lost = Array.from(copies.keys()).filter((i) => !answered[i]).length;
  if (lost) {
    run.report.find("answers_lost", { lost, total: all });
    result = ["note", lost + " of " + all + " answers were lost"];
  }
  if (arrived > copies.size) {
    run.report.find("repeated", { copies: arrived, total: copies.size });
    result = ["note", copies.size + " arrived as " + arrived];
  }
  if (copies.size < all) {
    run.shown.failed += all - copies.size;
    result = ["note", result[1] + "; " + (all - copies.size) + " did not arrive"];
  }
  return result;
}

async function arrived(run: Run, name: string): Promise<Map<number, number> | undefined> {
  for (let tries = 0; tries < 3; tries++) {
    const page = parse((await ask(run.times.patience, once("/rooms/" + name + "/history?limit=100"))).text);
    if (page && page.messages) {
      const copies = new Map<number, number>();
      for (const { data } of page.messages) copies.set(data, (copies.get(data) || 0) + 1);
      return copies;
    }
    run.shown.failed++;
  }
  return undefined;
}

/** Two requests for one address, the second while the first one waits. */
async function atOnce(run: Run): Promise<"merged" | "queued" | "apart"> {
  const wait = 1000;
  for (let tries = 1; ; tries++) {
    const path = once("/doctor/echo?wait=" + wait);
    const get = async (after: number) => {
      await pause(after);
      const answer = await ask(run.times.patience + wait, path);
      const echo = readEcho(answer, path);
      return { id: echo && echo.id, ms: answer.ms };
    };
    const [first, second] = await Promise.all([get(0), get(300)]);
    if (!first.id || !second.id) return "apart";
    if (first.id == second.id) return "merged";
    if (second.ms - first.ms < wait / 2) return "apart";
    if (tries == 2) return "queued"; // once may be chance
  }
}

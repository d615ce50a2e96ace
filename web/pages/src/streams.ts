// The three forms of a stream: held, batched, good; and how long one lives.
import { Flow, Form, forms } from "./flow";
import { now } from "./net";
import { Fate, noPost, Run, spent } from "./run";

type Outcome = "flows" | "batched" | "held" | "bodyHeld" | "lumps" | "opening" | "packed" | "refused";

export async function streams(run: Run) {
  const outcome: { [name: string]: Outcome } = {};
  let why = "";
  for (const form of forms) {
    await run.step(form.id, "Stream: " + form.name, async () => {
      if (form.method == "POST" && !run.shown.canPost) {
        outcome[form.name] = "refused";
        return ["skipped", noPost];
      }
      const [result, text] = await flow(run, form);
      outcome[form.name] = result;
      if (result == "refused") why = text;
      if (result == "flows" && !run.shown.flowing) run.shown.flowing = form;
      return [result == "flows" ? "good" : "note", text];
    });
  }
  const names = forms.map((form) => form.name);
  const good = names.filter((name) => outcome[name] == "flows");
  const bad = names.filter((name) => outcome[name] != "flows");
  const kinds = new Set(bad.map((name) => outcome[name]));
  const report = run.report;
  if (kinds.has("packed")) report.find("streams_compressed");
  if (kinds.has("opening")) report.find("streams_first");
  if (kinds.has("lumps")) report.find("streams_lumps");
  if (kinds.has("batched")) report.find("streams_batched");
  // Held in some forms only is told by the difference.
  if (!good.length && kinds.has("bodyHeld")) report.find("streams_body_held");
  if (!good.length && kinds.has("held")) report.find("streams_held");
  // Much later than a connection takes to open and an answer to come, in every form.
  const late = run.shown.firstEvent - run.shown.rtt;
  if (good.length && late > 3 * run.shown.rtt + 150) report.find("streams_late", { ms: Math.round(late) });
  if (good.length && bad.length && run.shown.canPost) report.find("streams_differ", { good: good.join(" and "), bad: bad.join(" and ") });
  if (!good.length && kinds.size == 1 && kinds.has("refused")) report.find("streams_refused", { error: why || "POST" });
}

async function flow(run: Run, form: Form): Promise<[Outcome, string]> {
  let [result, text] = await probe(run, form, "probe=1");
  if (result == "refused" && run.shown.failed) [result, text] = await probe(run, form, "probe=1");
  if (result == "batched") [result, text] = await probe(run, form, "probe=1"); // once may be chance
  if (result != "held" && result != "bodyHeld") return [result, text];
  const [filled] = await probe(run, form, "probe=1&pad=16384");
  if (filled == "flows") {
    // Or was it bad luck? That would not strike twice.
    const again = await probe(run, form, "probe=1");
    if (again[0] != "flows") return ["opening", "held back at its beginning"];
    run.shown.failed++;
    return again;
  }
  if (filled == "lumps" || filled == "batched") return ["lumps", "comes in lumps"];
  return [result, text];
}

async function probe(run: Run, form: Form, params: string): Promise<[Outcome, string]> {
  const patience = 2 * run.shown.rtt + run.times.patience / 2;
  const began = now();
  const flow = new Flow();
  try {
    const error = await flow.open(form, params, patience);
    if (error) return error == "silent" ? ["held", "nothing comes"] : ["refused", error];
    const first = await flow.next(patience);
    if (first === undefined) {
      if (flow.ended) return ["refused", "the stream ends at once"];
      if (flow.compressed) return ["packed", "compressed and held back"];
      return flow.bytes ? ["lumps", "something comes, but not an event"] : ["bodyHeld", "only the head comes"];
    }
    const second = await flow.next(patience);
    if (second === undefined) return ["lumps", "after the first event nothing comes"];
    // They were sent 300 ms apart.
    if (second - first < 100) return ["batched", "events arrive together"];
    run.shown.firstEvent = Math.min(run.shown.firstEvent, first - began);
    return ["flows", "flows, first event after " + Math.round(first - began) + " ms"];
  } finally {
    flow.close();
  }
}

export async function busyStream(run: Run, form: Form): Promise<Fate> {
  const flow = new Flow();
  try {
    if (await flow.open(form, "heartbeat=1", run.times.patience)) return spent;
    const began = now();
    let last = began;
    while (now() - began < Math.max(run.times.idle, run.times.wait)) {
      const at = await flow.next(1000 + run.times.patience);
      if (at === undefined) return flow.ended ? { end: "cut", ms: now() - began, drained: flow.drained } : { end: "silent", ms: last - began };
      last = at;
    }
    return { end: "lasted", ms: now() - began };
  } finally {
    flow.close();
  }
}

// The page "/doctor": tests what the network does, for a person.
import { base, byId, copy, make } from "./dom";
import { Report, Step } from "./report";
import { Times, why } from "./run";
import { diagnose, total } from "./tests";

const start = byId<HTMLButtonElement>("start");
const marks: { [state: string]: string } = { good: "good", note: "note", bad: "bad", skipped: "skipped" };

// What a colour says is said in words as well.
const levels: { [level: string]: string } = { note: "handled", slow: "handled, and felt", bad: "in the way", unknown: "not tested" };

byId("url").textContent = base;

/** Seconds given in the address, for tests of this page itself and for the patient. */
function times(): Times {
  const query = new URLSearchParams(location.search);
  const given = (name: string, usual: number, most: number) => {
    const n = Number(query.get(name));
    return 1000 * (n > 0 ? Math.min(n, most) : usual);
  };
  return { idle: given("idle", 20, 600), wait: given("wait", 55, 55), patience: given("patience", 5, 60) };
}

function showStep(step: Step) {
  const list = byId("tests");
  let line = document.getElementById("test-" + step.id);
  if (!line) {
    line = make("li");
    line.id = "test-" + step.id;
    line.append(make("span", "mark"), make("span", "what", step.title), make("span", "words"));
    list.append(line);
  }
  line.className = step.state || "running";
  line.querySelector(".mark")!.textContent = step.state ? marks[step.state] : "testing";
  line.querySelector(".words")!.textContent = step.result;
  clearInterval(ticking);
  byId("left").textContent = "";
  const done = Math.min(0.98, list.childElementCount / total);
  if (step.state) byId<HTMLProgressElement>("progress").value = done;
  else byId("now").textContent = step.title + "…";
  if (step.expected && !step.state) tick(done, step.expected);
}

let ticking = 0;

/** Shows that time passes during a long test. */
function tick(done: number, expected: number) {
  const began = performance.now();
  const show = () => {
    const passed = Math.min(1, (performance.now() - began) / expected);
    byId<HTMLProgressElement>("progress").value = done + passed * (0.98 - done);
    byId("left").textContent = passed < 1 ? Math.ceil((expected * (1 - passed)) / 1000) + " s left" : "";
  };
  show();
  ticking = setInterval(show, 500);
}

let running = false;

async function run() {
  if (running) return;
  running = true;
  // Not disabled: whoever has pressed it by a key would lose his place.
  start.setAttribute("aria-disabled", "true");
  start.textContent = "Testing…";
  byId("copied").textContent = "";
  byId("tests").textContent = byId("findings").textContent = "";
  byId("result").hidden = byId("report-section").hidden = true;
  byId("tests-section").hidden = byId("progress").hidden = false;
  byId<HTMLProgressElement>("progress").value = 0;
  const report = new Report();
  try {
    await diagnose(report, times(), showStep);
  } catch (error) {
    // Something is wrong with the tests themselves; what is known is shown.
    report.miss("what is not listed", why(error));
    report.tellMissed();
    report.verdict = "The tests broke off before their end.";
  }
  clearInterval(ticking);
  byId("left").textContent = byId("now").textContent = "";
  byId("progress").hidden = true;
  show(report);
  start.removeAttribute("aria-disabled");
  running = false;
  start.textContent = "Test again";
  byId("verdict").focus({ preventScroll: true });
  document.body.dataset.done = "1";
}

function show(report: Report) {
  byId("verdict").textContent = report.verdict;
  for (const finding of report.findings) {
    const block = make("div", finding.level);
    block.dataset.code = finding.code;
    const network = make("dt", "", finding.network);
    if (levels[finding.level]) network.prepend(make("span", "level", levels[finding.level]), " ");
    block.append(network, make("dd", "", finding.culvert));
    byId("findings").append(block);
  }
  byId("report").textContent = report.text();
  byId("result").hidden = byId("report-section").hidden = false;
}

start.addEventListener("click", run);

byId("copy").addEventListener("click", async () => {
  const done = await copy(byId("report").textContent || "", byId("report"));
  byId("copied").textContent = done ? "Copied." : "Select the text and copy it.";
});

if (new URLSearchParams(location.search).has("run")) run();

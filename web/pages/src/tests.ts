// The doctor's tests. Those of the command "culvert doctor" are the same, but
// for what a browser is not told.
import { Flow, Form, forms } from "./flow";
import { Answer, ask, count, Echo, now, once, parse, pause, readEcho, refusal, retryAfter, room, words } from "./net";
import { Mark, Report, Step } from "./report";
import { Socket } from "./socket";

/** Milliseconds: how long a connection is left alone, the longest poll, and what an answer may take that should come at once. */
export interface Times {
  idle: number;
  wait: number;
  patience: number;
}

type Result = [Mark, string];
type Outcome = "flows" | "batched" | "held" | "bodyHeld" | "lumps" | "opening" | "packed" | "refused";

/** What becomes of something that should last. */
interface Fate {
  end: "lasted" | "silent" | "cut" | "spent"; // spent: not tested
  ms: number;
}

const spent: Fate = { end: "spent", ms: 0 };
const seconds = (ms: number) => Math.max(1, Math.round(ms / 1000));

/** How many tests there are, for a progress bar. */
export const total = 20;

export class Doctor {
  readonly report = new Report();
  private failed = 0;
  private rtt = 0;
  private canPost = true;
  private websocket = false;
  private websocketLasts = false;
  private flowing?: Form;

  /** progress hears of each test when it begins, without a state, and when it has ended. */
  constructor(
    private readonly times: Times,
    private readonly progress: (step: Step) => void,
  ) {}

  async run(): Promise<Report> {
    const works = await this.plain();
    if (works) {
      await this.repeat();
      await this.sockets();
      await this.streams();
      await this.filters();
      await this.connections();
      await this.clock();
      await this.waiting();
    }
    this.conclude(works);
    return this.report;
  }

  private async step(id: string, title: string, test: () => Promise<Result>): Promise<Mark> {
    const step: Step = { id, title, result: "" };
    this.progress(step);
    [step.state, step.result] = await test();
    this.report.steps.push(step);
    this.progress(step);
    return step.state;
  }

  private skip(id: string, title: string) {
    return this.step(id, title, async () => ["skipped", ""]);
  }

  /** Asks for an echo up to three times, since a single failure says little. */
  private async echo(query = "", init?: RequestInit): Promise<{ echo?: Echo; answer: Answer }> {
    for (let tries = 1; ; tries++) {
      const path = once("/doctor/echo" + query);
      const answer = await ask(this.times.patience, path, init);
      const echo = readEcho(answer, path);
      if (echo || refusal(answer)) return { echo, answer };
      this.failed++;
      if (tries == 3) return { answer };
    }
  }

  private async plain(): Promise<boolean> {
    const report = this.report;
    const state = await this.step("plain", "Plain request", async () => {
      let { echo, answer } = await this.echo();
      for (let waits = 0; !echo && waits < 2 && retryAfter(answer); waits++) {
        report.find("busy", { status: answer.status });
        await pause(Math.min(retryAfter(answer), this.times.patience));
        ({ echo, answer } = await this.echo());
      }
      if (!echo) {
        this.hopeless(answer);
        return ["bad", words(answer)];
      }
      this.rtt = answer.ms;
      for (let i = 0; i < 4; i++) {
        const again = await this.echo();
        if (again.echo) this.rtt = Math.min(this.rtt, again.answer.ms);
      }
      report.from = echo.client;
      for (const name of ["via", "forwarded", "x-forwarded-for"]) {
        if (echo.headers[name] && !report.via) report.via = name + ": " + echo.headers[name];
      }
      let result = Math.round(this.rtt) + " ms there and back";
      if (echo.protocol != "HTTP/1.1") result += ", " + echo.protocol;
      if (echo.protocol == "HTTP/1.0") report.find("http10");
      const lost = ["Cache-Control", "Content-Type", "Vary"].filter((name) => !answer.headers.get(name));
      if (lost.length) report.find("response_headers", { names: lost.join(", ") });
      if (this.rtt > 400) {
        report.find("slow", { ms: Math.round(this.rtt) });
        return ["note", result];
      }
      return ["good", result];
    });
    if (state == "bad") return false;
    await this.step("large", "Answer of 64 KB", async () => {
      let { echo, answer } = await this.echo("?size=65536");
      if (!echo && answer.silent) {
        answer = await ask(4 * this.times.patience, once("/doctor/echo?size=65536"));
        echo = parse(answer.text);
      }
      if (!echo || (echo.fill || "").length != 65536) {
        report.find("answers_cut");
        return ["note", "does not arrive whole"];
      }
      if (answer.ms - this.rtt > 1000) {
        report.find("thin", { seconds: (answer.ms / 1000).toFixed(1) });
        return ["note", (answer.ms / 1000).toFixed(1) + " s"];
      }
      return ["good", Math.round(answer.ms) + " ms"];
    });
    return true;
  }

  /** Says why not even a plain request gets through. */
  private hopeless(answer: Answer) {
    const report = this.report;
    const json = parse(answer.text);
    if (answer.error) report.find("unreachable", { error: answer.error });
    else if (answer.status == 407) report.find("proxy_auth");
    else if (retryAfter(answer)) report.find("busy", { status: answer.status });
    else if (answer.status < 400 && !json) report.find("portal", { status: answer.status });
    else report.find("foreign", { status: answer.status });
  }

  /** The server refuses its own page where a proxy in front of it has changed Host. */
  private foreignOrigin(answer: Answer): boolean {
    const json = answer.status == 403 ? parse(answer.text) : undefined;
    const refused = !!(json && json.error && json.error.code == "origin_not_allowed");
    if (refused) this.report.find("origin", { host: location.host, origin: location.origin });
    return refused;
  }

  private async repeat() {
    const { patience } = this.times;
    await this.step("repeat", "The same request again", async () => {
      const path = once("/doctor/echo");
      const first = readEcho(await ask(patience, path), path);
      const second = readEcho(await ask(patience, path), path);
      if (first && second && first.id == second.id) {
        this.report.find("cached");
        return ["note", "answered with a kept answer"];
      }
      if (await this.merges()) {
        this.report.find("merged");
        return ["note", "two at a time are taken for one"];
      }
      return ["good", "each gets an answer of its own"];
    });
    await this.step("publish", "Publishing by POST", async () => {
      const all = 10;
      const name = room("post");
      const answered: boolean[] = [];
      let last!: Answer;
      for (let i = 0; i < all; i++) {
        last = await ask(patience, "/rooms/" + name + "?m=" + i, { method: "POST", body: String(i), headers: { "Content-Type": "text/plain" } });
        answered[i] = last.status >= 200 && last.status < 300;
        if (refusal(last)) break; // nine more would be refused as well
      }
      const copies = await this.arrived(name);
      if (!copies) return ["skipped", "what arrived cannot be read"];
      return this.judgePublishes(answered, copies, all, last);
    });
  }

  private judgePublishes(answered: boolean[], copies: Map<number, number>, all: number, last: Answer): Result {
    let arrived = 0;
    copies.forEach((n) => (arrived += n));
    if (!arrived) {
      this.canPost = false;
      if (!this.foreignOrigin(last)) this.report.find("post_blocked");
      return ["bad", words(last)];
    }
    let result: Result = ["good", answered.filter(Boolean).length + " of " + all + " answered, each arrived once"];
    const lost = Array.from(copies.keys()).filter((i) => !answered[i]).length;
    if (lost) {
      this.report.find("answers_lost", { lost, total: all });
      result = ["note", lost + " of " + all + " answers were lost"];
    }
    if (arrived > copies.size) {
      this.report.find("repeated", { copies: arrived, total: copies.size });
      result = ["note", copies.size + " arrived as " + arrived];
    }
    if (copies.size < all) {
      this.failed += all - copies.size;
      result = ["note", result[1] + "; " + (all - copies.size) + " did not arrive"];
    }
    return result;
  }

  private async arrived(name: string): Promise<Map<number, number> | undefined> {
    for (let tries = 0; tries < 3; tries++) {
      const page = parse((await ask(this.times.patience, once("/rooms/" + name + "/history?limit=100"))).text);
      if (page && page.messages) {
        const copies = new Map<number, number>();
        for (const { data } of page.messages) copies.set(data, (copies.get(data) || 0) + 1);
        return copies;
      }
      this.failed++;
    }
    return undefined;
  }

  /** Two requests for one address, the second while the first one waits. */
  private async merges(): Promise<boolean> {
    const path = once("/doctor/echo?wait=1000");
    const id = async (after: number) => {
      await pause(after);
      const echo = readEcho(await ask(this.times.patience + 1000, path), path);
      return echo && echo.id;
    };
    const [first, second] = await Promise.all([id(0), id(300)]);
    return !!first && first == second;
  }

  private async sockets() {
    const { patience } = this.times;
    const titles = ["First frames", "Frame of 16 KB each way"];
    const began = now();
    const socket = new Socket("");
    let state = await this.step("ws-handshake", "WebSocket handshake", async () => {
      const trouble = await socket.open(patience);
      if (!trouble) return ["good", "accepted"];
      this.report.find(trouble == "silent" ? "ws_swallowed" : "ws_blocked");
      return ["note", trouble == "silent" ? "no answer in time" : "failed after " + Math.round(now() - began) + " ms"];
    });
    if (state != "good") await this.skip("ws-frame", titles[0]);
    else {
      state = await this.step("ws-frame", titles[0], async () => {
        const began = now();
        let trouble = await socket.next(patience);
        if (typeof trouble != "string") trouble = await socket.ping(patience, 16);
        if (!trouble) return ["good", "an echo after " + Math.round(now() - began) + " ms"];
        this.report.find(trouble == "corrupt" ? "ws_corrupt" : trouble == "ended" ? "ws_broken" : "ws_silent");
        return ["note", trouble == "corrupt" ? "what came is not what was sent" : trouble == "ended" ? "it breaks" : "nothing comes"];
      });
    }
    if (state != "good") await this.skip("ws-large", titles[1]);
    else {
      await this.step("ws-large", titles[1], async () => {
        const trouble = await socket.ping(2 * patience, 16384);
        this.websocket = !trouble;
        if (!trouble) return ["good", "both arrived"];
        if (!this.report.has("answers_cut")) this.report.find("ws_large"); // else it is not about WebSocket
        return ["note", trouble == "silent" ? "nothing comes" : "the connection was closed"];
      });
    }
    socket.close();
  }

  private async streams() {
    const outcome: { [name: string]: Outcome } = {};
    let why = "";
    for (const form of forms) {
      await this.step(form.id, "Stream: " + form.name, async () => {
        if (form.method == "POST" && !this.canPost) {
          outcome[form.name] = "refused";
          return ["skipped", "POST does not get through"];
        }
        const [result, text] = await this.flow(form);
        outcome[form.name] = result;
        if (result == "refused") why = text;
        if (result == "flows" && !this.flowing) this.flowing = form;
        return [result == "flows" ? "good" : "note", text];
      });
    }
    const names = forms.map((form) => form.name);
    const good = names.filter((name) => outcome[name] == "flows");
    const bad = names.filter((name) => outcome[name] != "flows");
    const kinds = new Set(bad.map((name) => outcome[name]));
    const report = this.report;
    if (kinds.has("packed")) report.find("streams_compressed");
    if (kinds.has("opening")) report.find("streams_first");
    if (kinds.has("lumps")) report.find("streams_lumps");
    if (kinds.has("batched")) report.find("streams_batched");
    // Held in some forms only is told by the difference.
    if (!good.length && kinds.has("bodyHeld")) report.find("streams_body_held");
    if (!good.length && kinds.has("held")) report.find("streams_held");
    if (good.length && bad.length && this.canPost) report.find("streams_differ", { good: good.join(" and "), bad: bad.join(" and ") });
    if (!good.length && kinds.size == 1 && kinds.has("refused")) report.find("streams_refused", { error: why || "POST" });
  }

  private async flow(form: Form): Promise<[Outcome, string]> {
    let [result, text] = await this.probe(form, "probe=1");
    if (result == "refused" && this.failed) [result, text] = await this.probe(form, "probe=1");
    if (result == "batched") [result, text] = await this.probe(form, "probe=1"); // once may be chance
    if (result != "held" && result != "bodyHeld") return [result, text];
    const [filled] = await this.probe(form, "probe=1&pad=16384");
    if (filled == "flows") {
      // Or was it bad luck? That would not strike twice.
      const again = await this.probe(form, "probe=1");
      if (again[0] != "flows") return ["opening", "held back at its beginning"];
      this.failed++;
      return again;
    }
    if (filled == "lumps" || filled == "batched") return ["lumps", "comes in lumps"];
    return [result, text];
  }

  private async probe(form: Form, params: string): Promise<[Outcome, string]> {
    const patience = 2 * this.rtt + this.times.patience / 2;
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
      return ["flows", "flows, first event after " + Math.round(first - began) + " ms"];
    } finally {
      flow.close();
    }
  }

  private async filters() {
    const { patience } = this.times;
    await this.step("headers", "Headers of requests", async () => {
      const sent = ["Authorization", "Idempotency-Key", "Last-Event-ID"];
      const headers: { [name: string]: string } = {};
      for (const name of sent) headers[name] = "doctor";
      const { echo, answer } = await this.echo("", { headers });
      if (!echo) return ["skipped", words(answer)];
      const lost = sent.filter((name) => !echo.headers[name.toLowerCase()]).join(", ");
      if (!lost) return ["good", "all arrive"];
      this.report.find("headers_stripped", { names: lost });
      return ["note", "removed: " + lost];
    });
    await this.step("methods", "Methods", async () => {
      const lost: string[] = [];
      for (const method of ["HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"]) {
        let answer = await ask(patience, once("/doctor/echo"), { method });
        if (answer.error || answer.status >= 500) answer = await ask(patience, once("/doctor/echo"), { method });
        if (answer.status != 200 && !this.foreignOrigin(answer)) lost.push(method);
      }
      if (!lost.length) return ["good", "all pass"];
      this.report.find("methods_blocked", { names: lost.join(", ") });
      return ["note", "blocked: " + lost.join(", ")];
    });
    await this.step("lengths", "Long addresses and bodies", async () => {
      const result: string[] = [];
      for (const bytes of [1500, 7500]) {
        const { echo } = await this.echo("?x=" + "x".repeat(bytes));
        if (echo && echo.target >= bytes) continue;
        this.report.find("url_limit", { bytes });
        result.push("no address of " + bytes + " bytes");
        break;
      }
      for (const bytes of this.canPost ? [4096, 32768] : []) {
        const { echo } = await this.echo("", { method: "POST", body: "x".repeat(bytes), headers: { "Content-Type": "text/plain" } });
        if (echo && echo.body >= bytes) continue;
        this.report.find("body_limit", { bytes });
        result.push("no body of " + bytes + " bytes");
        break;
      }
      return result.length ? ["note", result.join(", ")] : ["good", "pass"];
    });
  }

  /** A browser has six connections to a server; one of them asks how many of the others wait. */
  private async connections() {
    const wanted = 5;
    await this.step("connections", "Requests at the same time", async () => {
      const name = room("many");
      const control = new AbortController();
      const poll = async (i: number) => {
        for (let tries = 0; tries < 3 && !control.signal.aborted; tries++) {
          await fetch(once("rooms/" + name + "/poll?wait=20&client=c" + i), { cache: "no-store", credentials: "omit", signal: control.signal }).then(
            (response) => response.text(),
            () => "",
          );
        }
      };
      const polls = Array.from({ length: wanted }, (_, i) => poll(i));
      let present = 0;
      for (const end = now() + this.times.patience; present < wanted && now() < end; await pause(100)) {
        const answer = parse((await ask(this.times.patience, once("/rooms/" + name + "/presence?limit=0"))).text);
        if (answer && answer.count) present = answer.count;
      }
      control.abort();
      await Promise.all(polls.map((poll) => poll.catch(() => {})));
      if (present < wanted) {
        this.report.find("connections", { count: present, wanted });
        return ["note", present + " of " + wanted];
      }
      return ["good", present + " of " + wanted];
    });
  }

  private async clock() {
    await this.step("clock", "Clock", async () => {
      const { echo, answer } = await this.echo();
      if (!echo) return ["skipped", words(answer)];
      const off = Math.abs(Date.now() - answer.ms / 2 - echo.time);
      if (off < 30000) return ["good", "agrees with the server's"];
      this.report.find("clock", { seconds: seconds(off) });
      return ["note", seconds(off) + " s apart"];
    });
  }

  /** The tests that only wait, together. */
  private async waiting() {
    const { idle, wait } = this.times;
    let fates: Fate[] = [];
    await this.step("waiting", "Long connections, " + seconds(Math.max(idle, wait)) + " s", async () => {
      fates = await Promise.all([
        this.websocket ? this.busySocket() : spent,
        this.websocket ? this.idleSocket() : spent,
        this.flowing ? this.busyStream(this.flowing) : spent,
        this.longPoll(),
      ]);
      this.judgeWaiting(fates[0], fates[1], fates[2], fates[3]);
      return fates.every((f) => f.end == "lasted" || f.end == "spent") ? ["good", "all lived as long"] : ["note", "not all lived as long"];
    });
    const ids: [string, string][] = [
      ["ws-busy", "WebSocket in use"],
      ["ws-idle", "WebSocket without traffic"],
      ["stream-long", "Stream with an event a second"],
      ["poll-long", "Poll that waits"],
    ];
    for (let i = 0; i < ids.length; i++) {
      const { end, ms } = fates[i];
      const text = (end == "lasted" ? "alive after " : end == "silent" ? "silent after " : "cut after ") + seconds(ms) + " s";
      await this.step(ids[i][0], ids[i][1], async () => (end == "spent" ? ["skipped", ""] : [end == "lasted" ? "good" : "note", text]));
    }
  }

  /** Opens a WebSocket on which the server stays quiet. */
  private async longSocket(): Promise<Socket | undefined> {
    const socket = new Socket("?heartbeat=60");
    if (!(await socket.open(this.times.patience)) && typeof (await socket.next(this.times.patience)) != "string") return socket;
    socket.close();
    return undefined;
  }

  private async busySocket(): Promise<Fate> {
    const socket = await this.longSocket();
    if (!socket) return spent;
    const began = now();
    while (now() - began < this.times.idle) {
      const sent = now();
      const trouble = await socket.ping(this.times.patience, 16);
      if (trouble) {
        socket.close();
        return { end: trouble == "silent" ? "silent" : "cut", ms: sent - began };
      }
      await pause(Math.min(1000, this.times.idle / 4));
    }
    socket.close();
    return { end: "lasted", ms: now() - began };
  }

  private async idleSocket(): Promise<Fate> {
    const socket = await this.longSocket();
    if (!socket) return spent;
    const began = now();
    let trouble: any = await socket.next(this.times.idle);
    const ms = now() - began;
    if (trouble == "silent") trouble = await socket.ping(this.times.patience, 16); // as it should be: is it alive?
    socket.close();
    return { end: trouble == "ended" ? "cut" : trouble ? "silent" : "lasted", ms };
  }

  private async busyStream(form: Form): Promise<Fate> {
    const flow = new Flow();
    try {
      if (await flow.open(form, "heartbeat=1", this.times.patience)) return spent;
      const began = now();
      let last = began;
      while (now() - began < Math.max(this.times.idle, this.times.wait)) {
        const at = await flow.next(1000 + this.times.patience);
        if (at === undefined) return flow.ended ? { end: "cut", ms: now() - began } : { end: "silent", ms: last - began };
        last = at;
      }
      return { end: "lasted", ms: now() - began };
    } finally {
      flow.close();
    }
  }

  private async longPoll(): Promise<Fate> {
    const { wait, patience } = this.times;
    const answer = await ask(wait + patience, once("/rooms/" + room("wait") + "/poll?wait=" + Math.floor(wait / 1000)));
    if (answer.status == 200) return { end: "lasted", ms: answer.ms };
    return answer.silent ? { end: "silent", ms: wait } : { end: "cut", ms: answer.ms };
  }

  /** Tells one cause from another by what else lived on. */
  private judgeWaiting(busy: Fate, idle: Fate, flow: Fate, poll: Fate) {
    const report = this.report;
    const after = (fate: Fate) => ({ seconds: seconds(fate.ms) });
    this.websocketLasts = busy.end == "lasted" && idle.end == "lasted";
    if (busy.end == "silent") report.find("ws_goes_silent", after(busy));
    if (busy.end == "cut") report.find("ws_age", after(busy));
    if (busy.end == "lasted" && idle.end == "silent") report.find("idle_forgotten", after(idle));
    if (busy.end == "lasted" && idle.end == "cut") report.find("idle_cut", after(idle));
    if (flow.end == "cut" || flow.end == "silent") return report.find("response_cap", after(flow));
    if (poll.end == "silent") report.find("idle_forgotten", after(poll));
    if (poll.end == "cut") report.find(flow.end == "lasted" ? "idle_cut" : "poll_cut", after(poll));
  }

  private conclude(works: boolean) {
    const report = this.report;
    report.works = works;
    if (!works) {
      report.verdict = "Culvert cannot be reached on this path.";
      return;
    }
    if (this.failed && !report.has("answers_cut") && !report.has("busy")) report.find("flaky", { failed: this.failed, total: count() });
    if (!report.findings.length) report.find("clear");
    if (this.websocket && this.websocketLasts) report.verdict = "Culvert works here over a WebSocket.";
    else if (this.websocket && !report.has("ws_goes_silent")) report.verdict = "Culvert works here over a WebSocket that is renewed in time.";
    else if (this.flowing) report.verdict = "Culvert works here over a stream (" + this.flowing.name + ").";
    else report.verdict = "Culvert works here by polling: each message comes as the answer to a request that waits for it.";
    if (!this.canPost) report.verdict += " Publishing needs a WebSocket here.";
  }
}

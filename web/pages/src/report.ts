// What the tests have found, and how it is written down. The command "culvert
// doctor" writes the same.
import findings from "../findings.json";
import { base } from "./dom";

export type Mark = "good" | "note" | "bad" | "skipped";

export interface Step {
  id: string;
  title: string;
  state?: Mark;
  result: string;
  expected?: number; // milliseconds, where it takes long
}

export interface Finding {
  code: string;
  level: string;
  network: string;
  culvert: string;
}

export class Report {
  readonly time = new Date();
  readonly steps: Step[] = [];
  readonly findings: Finding[] = [];
  from = "";
  via = "";
  verdict = "";
  works = false;
  private readonly missed: string[] = [];
  private reason = "";

  has(code: string): boolean {
    return this.findings.some((f) => f.code == code);
  }

  /** Adds a finding, once. */
  find(code: keyof typeof findings, values: { [name: string]: string | number } = {}) {
    if (this.has(code)) return;
    const fill = (text: string) => text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
    const { level, network, culvert } = findings[code];
    this.findings.push({ code, level, network: fill(network), culvert: fill(culvert) });
  }

  /** Notes a test that could not be made, for a reason that is not the network's. */
  miss(title: string, reason: string) {
    this.missed.push(title);
    this.reason = this.reason || reason;
  }

  /** Says which tests could not be made. */
  tellMissed(): boolean {
    if (!this.missed.length) return false;
    this.find("not_made", { names: this.missed.join(", "), error: this.reason });
    return true;
  }

  text(): string {
    let text = "Culvert doctor: " + base + "\n" + this.time.toISOString().slice(0, 19) + "Z\n" + navigator.userAgent + "\n\n";
    for (const s of this.steps) text += ("  " + (s.state || "").padEnd(8) + s.title.padEnd(32) + s.result).replace(/ +$/, "") + "\n";
    text += "\n";
    if (this.from) text += "The server sees requests from " + this.from + (this.via ? " (" + this.via + ")" : "") + ".\n\n";
    text += "What this network does, and what Culvert does about it:\n\n";
    for (const f of this.findings) text += wrap("  - ", f.network) + wrap("    ", f.culvert);
    return text + "\n" + wrap("", this.verdict);
  }
}

function wrap(first: string, text: string): string {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line && first.length + line.length + 1 + word.length > 92) {
      lines.push(line);
      line = "";
    }
    line += (line ? " " : "") + word;
  }
  lines.push(line);
  return first + lines.join("\n" + " ".repeat(first.length)) + "\n";
}

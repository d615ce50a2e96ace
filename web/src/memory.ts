import type { Env } from "./env";
import { parse } from "./errors";

const lifetime = 30 * 60e3;

/**
 * What was learned of the network between here and one server. It is kept for half an hour, for networks change, and
 * only ever changes the order in which things are tried. Storage may be missing, full, blocked or full of nonsense.
 */
export class Memory {
  kept: { [name: string]: [unknown, number] } = {};

  constructor(private env: Env, private key: string) {
    this.load();
  }

  private load() {
    try {
      this.kept = Object.assign({}, parse(this.env.storage!.getItem(this.key)) || this.kept);
    } catch (e) {}
  }

  /** A number that was remembered, 0 for none. */
  get(name: string): number {
    // Whatever was in the storage: what is not [number, time] gives NaN.
    const entry: any = this.kept[name] || 0;
    const age = this.env.date() - entry[1];
    return age >= 0 && age < lifetime ? +entry[0] || 0 : 0;
  }

  /** Remembers a number, 0 for none. */
  set(name: string, value: number) {
    if (!value && !this.get(name)) return;
    this.load(); // Another tab may have learned something.
    if (value) this.kept[name] = [value, this.env.date()];
    else delete this.kept[name];
    try {
      this.env.storage!.setItem(this.key, JSON.stringify(this.kept));
    } catch (e) {}
  }
}

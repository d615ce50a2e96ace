import type * as api from "./api";

/** What else an error can say. */
export interface More {
  status?: number;
  allowed?: string;
  room?: string;
  retryAfter?: number;
  final?: boolean;
}

/** Longer waits than this are not taken from anybody. */
const longestRetry = 5 * 60e3;

export class CulvertError extends Error implements api.CulvertError {
  readonly code!: string;
  readonly status?: number;
  readonly allowed?: string;
  readonly room?: string;
  retryAfter?: number;
  readonly final!: boolean;
  constructor(code: string, message: string, ...more: (More | false | undefined)[]) {
    super(message);
    Object.assign(this, { name: "CulvertError", code, final: false }, ...more);
    if (this.retryAfter! > longestRetry) this.retryAfter = longestRetry;
  }
}

export const none = () => {};

/** Anything that was thrown, as an error of ours. */
export const asError = (e: any): CulvertError =>
  e instanceof CulvertError ? e : new CulvertError("network", (e && e.message) || "no answer");

/** The client itself refuses, and would again; the code says why. */
export const refusal = (code: string) => new CulvertError(code, code, { final: true });

/** What JSON says, undefined where it is none. */
export function parse(text: any): any {
  try {
    return JSON.parse(text);
  } catch (e) {}
}

/** Something answered that is not Culvert: a captive portal, a proxy, half an answer. */
export const foreign = (more?: More) => new CulvertError("bad_answer", "not Culvert's answer", more, { final: false });

/**
 * The error object of an answer, reply or frame: {"code","message","allowed","room","retry_after_ms"}. Without one it is not
 * Culvert's word, and never final: proxies refuse today and let through tomorrow.
 */
export function told(o: any, more?: More): CulvertError {
  if (!o || !o.code) return foreign(more);
  const ms = o.retry_after_ms;
  return new CulvertError(o.code, o.message, { allowed: o.allowed, room: o.room }, more, ms >= 0 && { retryAfter: ms });
}

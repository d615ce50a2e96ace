// Requests that show what came back, for the doctor's tests.
import { base } from "./dom";

export interface Answer {
  status: number; // 0: nothing came, or not all of it
  text: string;
  headers: Headers;
  ms: number;
  error: string; // "" where an answer came
  silent: boolean; // it did not fail: nothing came in time
}

export interface Echo {
  echo: string;
  id: string;
  method: string;
  protocol: string;
  client: string;
  target: number;
  body: number;
  headers: { [name: string]: string | true };
  time: number;
  uptime?: number; // milliseconds; a server of an earlier version does not tell
  fill?: string;
}

const nonce = Math.random().toString(36).slice(2, 14);
let asked = 0;

/** How many requests with an address of their own were made. */
export const count = () => asked;

/** A path that no cache has seen. */
export function once(path: string): string {
  asked++;
  return path + (path.includes("?") ? "&" : "?") + "n=" + nonce + "-" + asked;
}

/** Whether a message, or the answer to a poll, says that the server is about to go. */
export const saysDraining = (text: string) => text.includes('"type":"bye","code":"draining"');

/** The name of a room that nobody else uses. */
export const room = (purpose: string) => "doctor-" + purpose + "-" + nonce;

export const url = (path: string) => base + path;

export const now = () => performance.now();

export const pause = (ms: number) => new Promise<void>((done) => setTimeout(done, Math.max(0, ms)));

/** Sends one request and reads the answer whole. */
export async function ask(patience: number, path: string, init: RequestInit = {}): Promise<Answer> {
  const control = new AbortController();
  let silent = false;
  const timer = setTimeout(() => {
    silent = true;
    control.abort();
  }, patience);
  const began = now();
  const answer: Answer = { status: 0, text: "", headers: new Headers(), ms: 0, error: "", silent: false };
  try {
    const response = await fetch(url(path), Object.assign({ cache: "no-store", signal: control.signal, redirect: "manual" }, init) as RequestInit);
    answer.headers = response.headers;
    answer.text = await response.text();
    answer.status = response.status;
    if (response.type == "opaqueredirect") answer.status = 302;
  } catch {
    answer.error = silent ? "no answer in time" : "the connection failed";
    answer.silent = silent;
  }
  clearTimeout(timer);
  answer.ms = now() - began;
  return answer;
}

export function parse(text: string): any {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The echo of a request for path, or undefined where the answer is not the server's. */
export function readEcho(answer: Answer, path: string): Echo | undefined {
  const echo = answer.status == 200 ? parse(answer.text) : undefined;
  return echo && echo.id && echo.echo == path.split("n=")[1] ? echo : undefined;
}

export const refusal = (answer: Answer) => answer.status >= 400 && answer.status < 500 && answer.status != 429;

export const retryAfter = (answer: Answer) => (answer.status >= 429 ? Number(answer.headers.get("Retry-After")) * 1000 || 0 : 0);

export const words = (answer: Answer) => answer.error || "status " + answer.status;

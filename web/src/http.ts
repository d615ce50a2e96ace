import { afterStatus } from "./codes";
import { Env, pageOrigin, pageURL, unique } from "./env";
import { CulvertError, asError, foreign, parse, told } from "./errors";
import type { Options } from "./api";
import { Timers } from "./timer";

/** Longer waits than this are not taken from anybody. */
const longestRetry = 5 * 60e3;

/** Plain requests, which are preflight-free: GET, and POST of text/plain. */
export class Http {
  /** Smoothed round trip in milliseconds, 0 if not known. */
  rtt = 0;
  /** The server's clock minus ours, in milliseconds. */
  skew = 0;
  readonly base: string;
  /** When a request was last answered only because it was sent again: other connections may be dead, too. */
  hedged = -1e9;

  private flying = new Set<AbortController>();
  private nonce: string;
  private count = 0;
  private known?: string | Promise<string>;
  /** Authorization is for our own origin, where it needs no preflight, until something on the way removes it. */
  private inURL: boolean;

  constructor(readonly env: Env, private options: Options, url: string) {
    const u = new URL(url, pageURL);
    this.base = u.origin + u.pathname.replace(/\/+$/, "");
    this.inURL = !!pageOrigin && pageOrigin != u.origin;
    this.nonce = unique(env).slice(0, 6);
  }

  /** How long an answer may take beyond what it has to. */
  get patience() {
    return Math.max(3 * this.rtt, 3000);
  }

  measured(ms: number) {
    // The least that was seen lately: the rest is waiting somewhere.
    this.rtt = this.rtt && ms > this.rtt ? 0.8 * this.rtt + 0.2 * ms : ms || 1;
  }

  /** The token, or "" where there is none; a new one if the old one has expired. */
  private async token(): Promise<string> {
    const t = this.options.token;
    if (!t) return "";
    try {
      if (!this.known) this.known = typeof t == "string" ? t : t();
      return String(await this.known);
    } catch (e) {
      this.known = undefined;
      throw new CulvertError("token_failed", "no token: " + asError(e).message);
    }
  }

  /** Asks for another token next time; false where there is none. */
  expired(): boolean {
    this.known = undefined;
    this.inURL = true;
    return typeof this.options.token == "function";
  }

  /** An address with its token, for WebSockets. */
  async address(path: string, query: string) {
    const token = await this.token();
    return this.base.replace(/^http/, "ws") + path + "?" + query + (token && "&token=" + encodeURIComponent(token));
  }

  /** Sends a request; POST if there is a body. The answer has not been looked at. */
  async send(path: string, query: string, body?: string, accept?: string, signal?: AbortSignal): Promise<Response> {
    const headers: { [name: string]: string } = {};
    if (accept) headers.Accept = accept;
    const token = await this.token();
    // A number that is never the same keeps caches and collapsing proxies off.
    query += (query && "&") + "n=" + this.nonce + ++this.count;
    if (token) {
      if (this.inURL) query += "&token=" + encodeURIComponent(token);
      else headers.Authorization = "Bearer " + token;
    }
    const init: RequestInit = { method: body == null ? "GET" : "POST", headers, body, signal };
    if (pageURL) {
      // Runtimes without pages need not know these.
      init.cache = "no-store";
      init.credentials = this.options.credentials ? "include" : "omit";
    }
    return this.env.fetch(this.base + path + "?" + query, init);
  }

  /** What an answer that is no success means. */
  async refusal(res: Response): Promise<CulvertError> {
    const status = res.status;
    const more = { status, retryAfter: this.retryAfter(res) };
    // Only what is Culvert's own word is final: proxies refuse today and let through tomorrow.
    const a = parse(await res.text().catch(() => 0));
    return told(a && a.error, Object.assign({ final: afterStatus(status) == "never" }, more)) || foreign(more);
  }

  private retryAfter(res: Response): number | undefined {
    const text = res.headers.get("Retry-After");
    if (!text) return;
    const ms = +text * 1000 || Date.parse(text) - this.env.date();
    return ms >= 0 ? Math.min(ms, longestRetry) : undefined;
  }

  /**
   * Sends a request and gives the JSON of its answer, or throws a CulvertError. A request that is not answered soon is
   * sent again beside the first, unless it is meant to wait: the connection that the browser took may be dead, and
   * only another request makes it take another one. No request of ours does harm twice.
   */
  json(path: string, query: string, body?: string, timeout = 10e3, abort = new AbortController(), waits?: unknown): Promise<any> {
    const { env } = this;
    const timers = new Timers(env);
    const answer = new Promise<any>((ok, no) => {
      const size = (body || "").length;
      const soon = Math.max(this.rtt ? 400 : 800, 2 * this.rtt) + size / 25;
      const send = (n: number) => {
        const began = env.now();
        this.attempt(path, query, body, abort.signal).then(
          (a) => {
            const now = env.now();
            if (n > 1) this.hedged = now;
            if (!waits && size < 1000) this.measured(now - began);
            ok(a);
          },
          (e) => no(asError(e)),
        );
        if (!waits && n < 4) timers.set("again", soon, () => send(n + 1));
      };
      timers.set("late", timeout, () => no(new CulvertError("timeout", "no answer in time")));
      send(1);
    });
    const done = () => {
      timers.clearAll();
      abort.abort();
      this.flying.delete(abort);
    };
    this.flying.add(abort);
    answer.then(done, done);
    return answer;
  }

  /** Gives up what is under way. */
  close() {
    this.flying.forEach((abort) => abort.abort());
  }

  private async attempt(path: string, query: string, body: string | undefined, signal: AbortSignal, again?: boolean): Promise<any> {
    const res = await this.send(path, query, body, "application/json", signal);
    if (!res.ok) {
      const error = await this.refusal(res);
      if (!again && (res.status == 401 || error.code == "token_expired") && this.expired())
        return this.attempt(path, query, body, signal, true);
      throw error;
    }
    const value = parse(await res.text());
    if (value && typeof value == "object") return value;
    throw foreign({ status: res.status, retryAfter: this.retryAfter(res) });
  }
}

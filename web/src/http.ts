import { afterStatus } from "./codes";
import { Env, pageOrigin, pageURL, params, unique } from "./env";
import { CulvertError, asError, none, parse, refusal, told } from "./errors";
import type { Options } from "./api";
import { Timers } from "./timer";

/** A token that takes longer is asked for again. */
const tokenPatience = 10e3;

/** The JSON of an answer, empty where it is not Culvert's own: a gateway's errors look alike, but for the mark. */
export const content = async (res: Response): Promise<any> => {
  const a = await res.text().then(parse, none);
  return a && a.protocol == 1 ? a : {};
};

/** Plain requests, which are preflight-free: GET, and POST of text/plain. */
export class Http {
  /** Smoothed round trip in milliseconds, 0 if not known. */
  roundTrip = 0;
  readonly base: string;
  /** When a request was last answered only because it was sent again: other connections may be dead, too. */
  hedged = NaN;

  private flying = new Set<AbortController>();
  private known?: Promise<string | null>;
  /** When the token is asked for again, if it has not come. */
  private due = 0;
  /** Authorization is for our own origin, where it needs no preflight, until something on the way removes it. */
  private inURL: boolean;
  /**
   * Browsers keep connections for requests with credentials, and others for those without. Which our requests have by
   * default depends on whose page it is; this is the other mode, whose connections may live where those are dead.
   */
  private otherMode: RequestCredentials;
  /** The last answer came in the other mode. */
  private other = false;

  constructor(readonly env: Env, private options: Options, url: string) {
    let u: URL | undefined;
    try {
      // Where the page comes from is an origin, whatever the page is called there.
      u = new URL(url.replace(/^ws/, "http") || "/", pageURL);
    } catch (e) {}
    // A name with a port alone would be read as a scheme.
    if (!u || !/^http/.test(u.protocol)) throw refusal("bad_url");
    this.base = u.origin + u.pathname.replace(/\/+$/, "");
    this.inURL = !!pageOrigin && pageOrigin != u.origin;
    this.otherMode = this.inURL ? "include" : "omit";
  }

  /** How long an answer may take beyond what it has to. */
  get patience() {
    return Math.max(3 * this.roundTrip, 3000);
  }

  measured(ms: number) {
    // The least that was seen lately: the rest is waiting somewhere.
    this.roundTrip = this.roundTrip && ms > this.roundTrip ? 0.8 * this.roundTrip + 0.2 * ms : ms || 1;
  }

  /** The token, null where there is none; asked for once, whoever waits for it. */
  private token(): Promise<string | null> {
    const { token } = this.options;
    const now = this.env.now();
    // The function's own request may be lost for ever.
    if (this.known && now < this.due) return this.known;
    this.due = now + tokenPatience;
    const ask = async () => (typeof token == "function" ? token() : token);
    return (this.known = ask().then(
      (t) => {
        this.due = Infinity;
        return t || null;
      },
      (e) => {
        this.forget();
        throw new CulvertError("token_failed", asError(e).message);
      },
    ));
  }

  /** Asks for the token anew the next time. */
  forget() {
    this.known = undefined;
  }

  /** An address with its token, for WebSockets. */
  async address(path: string, query: string) {
    return this.base.replace(/^http/, "ws") + path + "?" + query + "&" + params({ token: await this.token() });
  }

  /** Sends a request; POST if there is a body. The answer has not been looked at. */
  async send(path: string, query: string, body: string | undefined, accept: string, signal: AbortSignal, other = this.other, again = other != this.other): Promise<Response> {
    const known = this.token();
    const token = await known;
    const headers: { [name: string]: string } = { Accept: accept };
    if (token && !this.inURL) headers.Authorization = "Bearer " + token;
    const init: RequestInit = { method: body == null ? "GET" : "POST", headers, body, signal };
    // Only then: a fetch of the page's may have a default of its own.
    if (other) init.credentials = this.otherMode;
    // A text that is never the same keeps caches and collapsing proxies off.
    const own = { n: unique(this.env).slice(0, 9), token: this.inURL ? token : null };
    const res = await this.env.fetch(this.base + path + "?" + query + "&" + params(own), init);
    if (res.status != 401 || again || typeof this.options.token != "function") return res;
    // Another token, which somebody else may have asked for already.
    if (this.known == known) this.known = undefined;
    this.inURL = true;
    return this.send(path, query, body, accept, signal, other, true);
  }

  /** What an answer means that is no success, or not Culvert's; `a` is its content. */
  refusal(res: Response, a: any): CulvertError {
    const { status } = res;
    const after = res.headers.get("Retry-After") || "";
    const ms = +after * 1000 || Date.parse(after) - this.env.date();
    return told(a.error, { status, retryAfter: ms >= 0 ? ms : undefined, final: afterStatus(status) == "never" });
  }

  /**
   * Sends a request and gives the JSON of its answer, or throws a CulvertError. A request that is not answered soon is
   * sent again beside the first, unless it is meant to wait (seconds): the connection that the browser took may be dead, and
   * only another request makes it take another one. Over HTTP/2, where one carries all requests, only a request in the
   * other mode does; a page's next requests go in the mode that was answered. No request of ours does harm twice.
   */
  async json(path: string, query: string, body?: string, wait = 0, abort = new AbortController()): Promise<any> {
    const { env, flying } = this;
    const { signal } = abort;
    const timers = new Timers(env);
    const size = (body || "").length;
    const soon = Math.max(this.roundTrip ? 400 : 800, 2 * this.roundTrip) + size / 25;
    flying.add(abort);
    try {
      return await new Promise<any>((ok, no) => {
        let open = 0;
        const send = async (n: number) => {
          const began = env.now();
          const other = this.other != (n == 3 && !!pageOrigin);
          let ours: unknown;
          open++;
          if (!wait && n < 4) timers.set("again", soon, () => send(n + 1));
          try {
            const res = await this.send(path, query, body, "application/json", signal, other);
            const a = await content(res);
            ours = a.protocol;
            if (!res.ok || !ours) throw this.refusal(res, a);
            const now = env.now();
            this.other = other;
            if (n > 1) this.hedged = now;
            if (!wait && size < 1000) this.measured(now - began);
            ok(a);
          } catch (e) {
            const error = asError(e);
            // Something between may want cookies, or none; of a copy in the mode that is not in use that says nothing.
            const lost = !ours && other != this.other;
            if (!ours && !lost && !signal.aborted) this.other = false;
            // Another copy may have more luck; but where the server has spoken there is nothing to hope for.
            if (!--open || error.final || (error.retryAfter && !lost)) no(error);
          }
        };
        timers.set("late", (wait ? wait * 1000 : 7000) + size / 50 + this.patience, () => no(new CulvertError("timeout", "no answer in time")));
        send(1);
      });
    } finally {
      timers.clearAll();
      abort.abort();
      flying.delete(abort);
    }
  }

  /** Gives up what is under way. */
  close() {
    this.flying.forEach((abort) => abort.abort(refusal("closed")));
  }
}

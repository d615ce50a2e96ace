import type * as api from "./api";
import { Connection } from "./connection";
import { CulvertError } from "./errors";

export { CulvertError };

/** Connects to the server at `url` when the first room is asked for. */
export const connect = (url: string, options?: api.Options): api.Client => new Connection(url, options || {});

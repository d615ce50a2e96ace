import type * as api from "./api";
import { Connection } from "./connection";
import { diagnose } from "./diagnose";
import { CulvertError } from "./errors";

export { CulvertError };

/** Connects to the server at `url` when the first room is asked for. */
export function connect(url: string, options: api.Options = {}): api.Client {
  const c = new Connection(url, options);
  return {
    get state() {
      return c.state;
    },
    get transport() {
      return c.transport;
    },
    get reason() {
      return c.reason;
    },
    id: c.id,
    room: (name, o = {}) => c.room(name, o) as any,
    publish: (room, data, o) => c.publish(room, data, o),
    on: (type, listener) => c.events.on(type, listener),
    off: (type, listener) => c.events.off(type, listener),
    diagnose: (onFinding) => diagnose(c, onFinding),
    use: (transports) => c.use(transports),
    reconnect: () => c.reconnect(),
    close: () => c.close(),
  };
}

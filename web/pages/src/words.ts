// What the page says of the connection.
import type { StateEvent } from "../../src/api";

export const names: { [transport: string]: string } = { websocket: "WebSocket", sse: "SSE", poll: "long-poll" };

/** What the connection does. */
export function stateWords(event: StateEvent): string {
  switch (event.state) {
    case "connected":
      return "Connected over " + names[event.transport || ""];
    case "waiting":
      return "Out of reach" + (event.retryIn ? ", next attempt in " + Math.ceil(event.retryIn / 1000) + " s" : "");
    case "connecting":
      return "Connecting";
    case "failed":
      return "Refused";
    case "closed":
      return "Closed";
  }
  return "Not connected";
}

/** Why it is so, where the client's own word for it is short. */
export function reasonWords(event: StateEvent, chosen: boolean): string {
  if (event.state != "connected" || event.reason != "proven") return event.reason;
  if (chosen) return "as chosen below; it was tested and works";
  if (event.transport == "websocket") return "tested with 16 KB there and back; nothing is better";
  return "it was tested and works; something better is looked for";
}

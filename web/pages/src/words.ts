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

// The client's own words are for programmers.
const plain: [RegExp, string][] = [
  [/^a room$/, "a room was opened"],
  [/^asked to$/, "as asked for"],
  [/^online$/, "the network is back"],
  [/^offline$/, "the network is gone"],
  [/^change$/, "the network has changed"],
  [/^(pageshow|visibilitychange)$/, "the page is looked at again"],
  [/WebSocket closed: (\d+)/, "the WebSocket was refused or broke (code $1)"],
  [/streams: (\w+)/, "streams do not flow ($1)"],
  // What Chromium, Firefox and Safari say of a request that got no answer.
  [/^(Failed to fetch|NetworkError .*|Load failed)$/, "no connection to the server"],
];

/** Why it is so. chosen: a transport is forced. */
export function reasonWords(event: StateEvent, chosen: boolean): string {
  const reason = plain.reduce((text, [own, words]) => text.replace(own, words), event.reason);
  if (event.state == "waiting" && chosen) return reason + "; Automatic may find another way";
  if (event.state != "connected") return reason;
  if (chosen) return "as chosen below; it was tested and works";
  if (event.reason != "proven") return reason;
  if (event.transport == "websocket") return "tested with 16 KB there and back; nothing is better";
  return "it was tested and works; something better is looked for";
}

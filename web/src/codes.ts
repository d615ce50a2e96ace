// Code generated from codes.json by go generate. DO NOT EDIT.

/** How a client goes on after an error or close. */
export type Reconnect = "now" | "backoff" | "never";

/** The codes that a server of this version sends; a newer one may send others. */
export type Code =
  | "bad_room"
  | "bad_cursor"
  | "bad_parameter"
  | "too_many_rooms"
  | "bad_json"
  | "bad_utf8"
  | "bad_body"
  | "empty_body"
  | "bad_key"
  | "message_too_large"
  | "body_too_large"
  | "batch_too_large"
  | "unsupported_encoding"
  | "unsupported_type"
  | "unsupported_method"
  | "not_found"
  | "upgrade_required"
  | "bad_upgrade"
  | "origin_not_allowed"
  | "bad_command"
  | "unknown_command"
  | "bad_ref"
  | "not_subscribed"
  | "binary_frame"
  | "bad_frame"
  | "frame_too_large"
  | "key_conflict"
  | "key_in_progress"
  | "keys_full"
  | "outcome_unknown"
  | "store_unavailable"
  | "behind"
  | "draining"
  | "too_many_connections"
  | "request_timeout"
  | "internal"
  | "gap"
  | "slow"
  | "silent";

/** The codes of WebSocket close codes. */
export const closeCodes: { readonly [close: number]: Code } = {
  1002: "bad_frame",
  1003: "binary_frame",
  1007: "bad_utf8",
  1009: "frame_too_large",
  4001: "gap",
  4002: "slow",
  4003: "silent",
  4100: "draining",
  4101: "too_many_connections",
  4102: "behind",
  4103: "store_unavailable",
  4104: "internal",
  4403: "origin_not_allowed",
  4410: "bad_room",
  4411: "bad_cursor",
  4412: "bad_parameter",
  4413: "too_many_rooms",
};

/** A publish that got one of these may have taken effect. */
export const mayHaveHappened: readonly string[] = [
  "outcome_unknown",
  "internal",
];

/** The policy of a WebSocket close code, by its range; right for unknown codes too. */
export function afterClose(code: number): Reconnect {
  if (code >= 4000 && code <= 4099) return "now";
  if (code >= 4400 && code <= 4599) return "never";
  return [1000, 1002, 1003, 1007, 1008, 1009, 1010].includes(code) ? "never" : "backoff";
}

/** The policy of an HTTP status that is not a success. */
export function afterStatus(status: number): Reconnect {
  return status >= 500 || status === 408 || status === 409 || status === 429 ? "backoff" : "never";
}

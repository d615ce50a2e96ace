// Package transport is Culvert over HTTP: it routes requests to the transports
// (WebSocket, SSE, NDJSON, long-poll), takes publishes, and answers history,
// presence and figures. PROTOCOL.md is the contract with clients.
//
// Each transport is a framing of the same delivery in package hub and lives in
// a folder of its own; the transports do not know each other. What they share:
// read understands reading requests, publish understands messages, wire holds
// the wire forms, codes the errors.
package transport

// Package wire turns events into the bytes of every wire form: the JSON
// envelopes, and the WebSocket, SSE, NDJSON and poll framings around them.
// PROTOCOL.md in the folder above is its specification.
//
// A form is encoded at most once per event and its bytes are shared by all
// subscribers of the form, so everything here is stateless, appends to the
// caller's buffer and uses no reflection.
package wire

// Package transporttest is the conformance suite of the transports: what one
// reader may rely on is the same over WebSocket, SSE, NDJSON and long-poll, and
// each law is written down once, as a test that runs over all four.
//
// Its clients parse the wire by themselves, without the packages under test.
package transporttest

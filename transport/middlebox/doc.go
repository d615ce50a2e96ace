// Package middlebox is a small HTTP/1.1 proxy that misbehaves on purpose, one
// named way at a time or several together: what gateways, filters, caches and
// address translators do to long-lived connections, for tests on one machine.
//
// It stands in front of one server (Config.Upstream) as a reverse proxy, and is
// also usable as a forward proxy: it understands requests with a whole URL and
// CONNECT, both of which it sends to the same server unless Config.Forward says
// otherwise.
//
// With zero Options it is an honest proxy. Options may be exchanged while it
// runs (Box.Set); Box.Freeze and Box.Cut act on the connections that are open.
// What is left to chance is drawn from Options.Seed.
//
// What it is not: fast, or hardened against its clients. Request bodies are
// read whole (up to 8 MiB) before anything is sent on, every request has an
// upstream connection of its own, and HTTP/2 and TLS are unknown to it.
package middlebox

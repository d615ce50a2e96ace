// Package redis keeps rooms in Redis (7 or newer) or Valkey, so that several
// nodes are one service: a single server, Sentinel or Cluster.
//
// Everything that has to happen at once happens in one of the scripts in the
// folder scripts; what they leave in the database is described, for people
// with redis-cli, in KEYS.md.
//
// # Outcomes of a publish
//
// A publish is applied, refused or unknown. Refused means that Redis certainly
// did not apply it: nobody answered the dial, or Redis said so (no memory,
// read-only, loading, …). Unknown is a call that was written and whose answer
// did not come. It is repeated, until Options.PublishTimeout or until nobody
// waits for it any more, and takes effect once all the same: every call carries
// the number that it has in its lane, and Redis keeps, for two minutes, the
// number and the answer of each lane's last call (the fence). A repetition gets
// the answer of the first try; a call that was overtaken, or that turns up
// after its time, does nothing. Clients' idempotency keys work above that, over
// nodes and for longer.
//
// That is so as long as the user may call what the scripts call: Check says at
// the start what of it Redis refuses, and KEYS.md names the rights.
//
// # Lanes
//
// A lane is the queue of some of the partitions, with one call under way: what
// is published meanwhile gathers and goes out together in the next. A publisher
// alone therefore waits for nobody, and many share calls: a message in a large
// call costs Redis half of what it costs alone, or less. So lanes are few.
//
// # Locks
//
// lane.mu, flights.mu, watch.mu and connections.mu are leaves: none is held
// while another is taken, a watcher is called or the network is waited for.
package redis

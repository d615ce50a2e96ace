// Package memory is the embedded store: everything in the process, nothing to
// install. It is bounded per room and in total, and it is the truth for its
// node alone: several nodes need store/redis. What it holds ends with the
// process; readers that come back after a restart are told by a gap (their
// epoch is gone), never by silence.
//
// # Structure
//
// A Store is 64 shards, each with its own lock; a room's name decides its
// shard. A shard has the rooms, the idempotency keys of its rooms, and two
// heaps by time: when a key expires, and when a room next needs a look (its
// oldest message ages, a presence lease ends, or it may be forgotten whole).
// Whoever touches a room first removes what has expired in it, so expiry is
// exact by the clock without anybody's help; a janitor goroutine frees what
// nobody touches, a small batch per lock hold.
//
// # Lock order
//
//	Store.evictMu -> shard.mu -> the watcher's own locks
//	shard.mu -> shard.stopMu
//
// No goroutine holds two shards' locks. Watchers are called with their shard's
// lock held, so that each hears a room's messages in their order; therefore a
// caller must not hold a lock that its Watcher takes while it calls the store.
// The stop function that Watch returns is the exception: it never waits for
// a shard's lock and may be called under any lock.
package memory

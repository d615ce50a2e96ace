// Package hub is Culvert's domain: rooms, their order, delivery to
// subscribers, and presence. It imports the standard library only; stores and
// transports are adapters around it and never know each other.
//
// # Delivery
//
// A room that has readers on this node has one log of its newest events, fed by
// the store's watch. A Subscriber is a connection and, for each of its rooms, a
// place in the room's log; there are no queues of messages. Whatever comes into
// a log makes the room dirty; workers take dirty rooms in turn and write to each
// member what lies between its place and the head, in one write that does not
// block. For small rooms, whoever publishes a burst may do the same instead
// (HoldDelivery). A connection that does not take everything gets a pump: a
// goroutine that owns the connection until nothing is left. A reader that is
// behind the log reads from the store until it has reached it. Only the store
// decides what is a gap: a log never takes more than what directly follows its
// head, and asks the store wherever it cannot tell.
//
// A poll is a subscriber without a connection: it takes what there is, once.
// Where it has to wait, a goroutine does (Poll) or its connection is parked
// (PollOrPark).
//
// # Locks
//
// In this order, each for short pieces of work in memory:
//
//	Subscriber.mu   the connection's state; held over writes that do not block
//	room.mu         a room's log and members
//	workQueue.mu    the dirty rooms
//
// Hub.mu (the tables), wheel.mu (heartbeats) and presence.mu are taken under a
// Subscriber's mu or under none, and nothing is taken under them. None is held
// while the hub calls the store, and a connection's blocking Write or a Waiter's
// Answer is never called with one. The store may call a room (Watcher) with its
// own locks held, so Watcher's methods take room.mu and what comes after it, and
// nothing else.
//
// Every goroutine is counted in Hub.wg and ends with Close.
package hub

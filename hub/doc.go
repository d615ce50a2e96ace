// Package hub is Culvert's domain: rooms, their order, delivery to
// subscribers, and presence. It imports the standard library only; stores and
// transports are adapters around it and never know each other.
package hub

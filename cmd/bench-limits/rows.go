package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/culvertd/culvert/cmd/internal/bench/report"
)

// row is one thing that is measured. A run of it has one or more figures, the
// same ones in every run.
type row struct {
	name, about string
	run         func(ctx context.Context, b *bencher) ([]figure, error)
	means       string // what is done and how to read it, for the page
}

// figure is one line of the page: what was measured, and beside what.
type figure struct {
	what    string
	format  func(float64) string
	ours    float64
	beside  float64 // what limits it; 0: nothing does but the bar
	name    string  // of that
	bar     float64 // on the ratio where there is something beside it, else on ours; 0 for none
	stretch float64 // a further goal of the same kind; 0 for none
	least   bool    // bar and stretch are the least that is wanted, not the most
	always  bool    // what every run has to keep to, not the median
	note    string
	short   string // what it is called in the short table, "" where it is not there
}

// judged is what the bar is for.
func (f figure) judged() float64 {
	if f.beside > 0 {
		return f.ours / f.beside
	}
	return f.ours
}

// errLeftOut is a row that cannot be measured here, with the reason.
var errLeftOut = errors.New("left out")

var rows = []row{
	{"paced", "fan-out to 5,000 in one room, a message at a time", paced,
		"Four messages a second go to 5,000 readers, each when the one before has arrived everywhere, so that every reader takes a write of its own. " +
			"All take turns, three of three seconds each in a run, whose figure is their median. " +
			"C is one thread that calls `send(2)` for each reader and does nothing else. A long-poll's figure has the delivery and the next request of the same reader. " +
			"Centrifugo 6.3 was measured with the same load (its JSON protocol, one core) on a machine like this one, when Culvert was designed, and is not run here: what it took is given " +
			"in units of the same C loop (17.6 and 23.5 µs to 6.5), since the machines differ."},
	{"burst", "fan-out to 5,000 in one room, eight messages outstanding", burst,
		"Whenever a message has arrived everywhere the next is published, eight at a time. What gathers meanwhile goes out in one write, and C writes eight messages a call as well."},
	{"memory", "memory of 15,000 idle connections", memory,
		"The growth of the server's resident memory from before the first connection to six seconds after the last, divided among them: the HTTP server, the hub and what the " +
			"allocator keeps are in it, the kernel's buffers are not. A Culvert that has become quiet gives back what the rush of connections took, so this is what waiting " +
			"connections cost; one under traffic keeps as much again for garbage."},
	{"stalled", "fan-out while 1 % of the readers do not read", stalled,
		"5,000 readers, eight messages of 1,000 bytes outstanding, without and with 50 that stop reading at the beginning. What these hold is the kernel's memory for TCP and the " +
			"server's growth during the run, divided among them."},
	{"scale", "a delivery's cost from 100 to 15,000 readers of a room", scale,
		"A message at a time, with the publishing deducted; the bar is on the dearest size beside the cheapest of the same run. For few connections the kernel's part of a delivery " +
			"stays in the processor's cache and gets cheaper, for C and Culvert alike, so the cost is told in units of C at the same size as well."},
	{"rooms", "a delivery's cost from one room to 10,000", manyRooms,
		"10,000 readers in one room, in 100 rooms of 100, and in 10,000 rooms of one: the same connections and writes, with what publishing the same messages costs without readers deducted. " +
			"What is done once for a message and not for each reader, such as encoding it, stays in the figure; in rooms of one it falls on a single delivery. " +
			"The last line is without it: what a message costs more with three readers in its room than with one, for each of the two. " +
			"The loads take turns, three of two seconds each in a run, whose figures are the medians."},
	{"publish", "publishing into the memory store", publishing,
		"In-process is one call of the store for each message, from one goroutine. Over HTTP it is the whole server's CPU for a request on a kept connection, the message's way to one " +
			"WebSocket reader of its room included, turned into what a core can do in a second. A batch is one request with 100 messages for one room, each with a key of its own."},
	{"redis", "publishing through redis-server", redis,
		"Everybody calls the same script (idempotency key, history, publication) with messages of 200 bytes, on redis-server alone on a core, clients on another. Culvert's store " +
			"is called by so many goroutines at a time, and sends what gathers meanwhile in one call of the script, which is how it can get ahead of those who send each message in a call " +
			"of its own: redis-benchmark, with the bare script, and go-redis. redis-benchmark is taken with the best of four numbers of connections (-c) and " +
			"commands in a pipeline (-P); it can fill in random numbers only, so all its messages go to one room (the others use 100). go-redis is what a program gets that calls " +
			"the script with `redis.NewClient` and no further options."},
	{"storm", "10,000 clients come back at once", storm,
		"10,000 WebSockets in 100 rooms leave, 100 messages are published in each room, and all come back with their cursors at once: the server's CPU for each, its handshake included, " +
			"beside what delivering 100 messages to a connected one takes. Meanwhile 200 messages a second go to ten other rooms, and the longest that one of them takes, in whichever run, is what the bar is for."},
	{"small", "small rooms beside a large one", smallRooms,
		"100 rooms of two get 100 messages a second while a room of 15,000 has eight messages outstanding at all times."},
	{"start", "from start to ready", start,
		"From the start of the process to its saying that it listens."},
}

func micros(v float64) string { return report.Micros(v) }
func millis(v float64) string { return report.Millis(v) }
func memSize(v float64) string {
	return report.Bytes(int64(v))
}
func perSecond(v float64) string { return report.Number(float64(int64(v))) + "/s" }
func times(v float64) string     { return fmt.Sprintf("%.2f", v) }

// many is a number of subscribers, scaled.
func (b *bencher) many(n int) int { return max(int(float64(n)*b.scale), 10) }

package transporttest

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/culvertd/culvert/hub"
)

// mixedLaws: a cursor of any transport is good on every other.
func mixedLaws() []law {
	return []law{
		{name: "resume from every transport on every other", on: []string{}, check: func(e *env, _ string) {
			e.publishMany("lobby", 1, 100)
			at := uint64(0)
			cursor := "0"
			for _, from := range Transports() {
				for _, to := range Transports() {
					for _, transport := range []string{from, to} {
						r := e.open(transport, "lobby", "cursor="+cursor)
						r.offsets("lobby", at+1, at+3)
						at += 3
						cursor = r.cursor()
						r.close()
					}
				}
			}
		}},
		{
			name: "ten thousand messages over every transport, with random disconnects", on: []string{},
			// The log and the writes are short, so that readers that were away
			// or slow catch up from the store; the history holds everything.
			setup: Setup{Hub: hub.Options{LogMessages: 100, WriteBytes: 4096}, HistoryMessages: 20_000, HistoryBytes: 64 << 20},
			check: checkStream,
		},
	}
}

const (
	streamMessages = 10_000
	streamSeed     = 20240229
)

// seed is that of the random choices: CULVERT_SEED, or always the same.
func seed(e *env) uint64 {
	text := os.Getenv("CULVERT_SEED")
	if text == "" {
		return streamSeed
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		e.Fatalf("CULVERT_SEED: %v", err)
	}
	return n
}

// checkStream: readers that move between transports at random, in the middle
// of a stream, each get everything once and in order.
func checkStream(e *env, _ string) {
	rooms := []string{"s1", "s2"}
	seed := seed(e)
	var wg sync.WaitGroup
	for i := range 6 {
		rng := rand.New(rand.NewPCG(seed, uint64(i)))
		wg.Go(func() {
			if err := wander(e, rng, rooms); err != nil {
				e.Errorf("reader %d of seed %d: %v", i, seed, err)
			}
		})
	}
	rng := rand.New(rand.NewPCG(seed, 99))
	next := map[string]int{}
	for sent := 0; sent < streamMessages; {
		var lines strings.Builder
		for range min(1+rng.IntN(40), streamMessages-sent) {
			room := rooms[rng.IntN(2)]
			next[room]++
			fmt.Fprintf(&lines, `{"room":%q,"data":{"n":%d,"x":%q}}`+"\n", room, next[room], strings.Repeat("x", rng.IntN(100)))
			sent++
		}
		e.publishLines(lines.String())
	}
	wg.Wait()
}

// wander reads both rooms to their end, changing the transport now and then.
func wander(e *env, rng *rand.Rand, rooms []string) error {
	places := map[string]uint64{}
	cursor := "s1=0,s2=0"
	transports := Transports()
	for got := 0; got < streamMessages; {
		transport := transports[rng.IntN(len(transports))]
		r, err := e.tryOpen(transport, strings.Join(rooms, ","), "cursor="+cursor)
		if err != nil {
			return fmt.Errorf("%s at %s: %w", transport, cursor, err)
		}
		for range 1 + rng.IntN(400) {
			if got == streamMessages {
				break
			}
			ev, err := r.try()
			if err != nil {
				return fmt.Errorf("%s after %d: %w", transport, got, err)
			}
			switch ev.Type {
			case "heartbeat":
				continue
			case "message":
			default:
				return fmt.Errorf("%s after %d: %+v", transport, got, ev)
			}
			if rng.IntN(200) == 0 {
				time.Sleep(time.Duration(rng.IntN(20)) * time.Millisecond) // a slow reader
			}
			var data struct{ N uint64 }
			if err := json.Unmarshal(ev.Data, &data); err != nil {
				return err
			}
			if want := places[ev.Room] + 1; ev.Offset != want || data.N != want {
				return fmt.Errorf("%s: room %s offset %d with %s, want %d", transport, ev.Room, ev.Offset, ev.Data, want)
			}
			places[ev.Room]++
			got++
		}
		cursor = r.cursor()
		r.close()
	}
	return nil
}

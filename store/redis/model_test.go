//go:build unix

package redis_test

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/store/redis"
)

// model says what must have become of the publishes of both versions.
type model struct {
	t     *testing.T
	s     *redis.Store
	o     redis.Options
	slack int // of HistoryCount
	rand  *rand.Rand
	lane  int // calls of the version before
	rooms map[string]*modelRoom
	keys  map[string]*modelKey
	clock func() int64 // the store's
	ttl   func(key string) time.Duration
	steps []string
}

type modelRoom struct {
	head     hub.Position
	msgs     []hub.Message // of the epoch, by offset
	floor    uint64
	cut      bool   // the stream was deleted, so the floor has been moved for no other reason
	wanted   bool   // the epoch must be a new one
	previous string // the epoch before
}

type modelKey struct {
	data    string
	at      hub.Position
	time    int64
	expires int64
}

func (m *model) failf(format string, args ...any) {
	m.t.Helper()
	last := m.steps[max(0, len(m.steps)-12):]
	m.t.Fatalf("%s\nafter:\n  %s", fmt.Sprintf(format, args...), strings.Join(last, "\n  "))
}

func (m *model) do(args ...string) any {
	m.t.Helper()
	v, err := m.s.Do(m.t.Context(), args...)
	if err != nil {
		m.failf("%q: %v", args, err)
	}
	return v
}

// before publishes as the version before did.
func (m *model) before(batch []hub.Publish) []hub.Result {
	m.lane++
	keys := []string{m.o.Prefix + ":fence:" + strconv.Itoa(m.lane)}
	args := append([]string{"1", "999999999999999", hub.NewEpoch(0)[9:]}, m.s.PublishArgs()...)
	for i := range batch {
		p := &batch[i]
		kind := "h"
		if p.Ephemeral {
			kind = "e"
		} else {
			keys = append(keys, m.s.HeadKey(p.Room), m.s.StreamKey(p.Room))
		}
		if p.Key != "" {
			kind += "k"
			keys = append(keys, m.s.DedupeKey(p.Room, p.Subject, p.Key))
		}
		args = append(args, kind, m.s.Channel(p.Room), p.Room, p.ID, p.From, string(p.Data),
			fmt.Sprintf("%d %d %d", len(p.ID), len(p.From), len(p.Data)))
		if p.Key != "" {
			args = append(args, hex.EncodeToString(p.Fingerprint[:]), strconv.FormatInt(p.KeyTTL.Milliseconds(), 10))
		}
	}
	text := m.do(append(append([]string{"EVAL", scriptBefore, strconv.Itoa(len(keys))}, keys...), args...)...).(string)
	lines := strings.Split(text, "\n")
	if len(lines) != len(batch)+1 || !strings.HasPrefix(lines[0], "ok ") {
		m.failf("the version before says %q", text)
	}
	results := make([]hub.Result, len(batch))
	for i, line := range lines[1:] {
		f := strings.Fields(line)
		switch f[0] {
		case "!":
			results[i].Err = hub.ErrKeyConflict
		case "-":
			results[i].Err = fmt.Errorf("%w: %s", hub.ErrUnavailable, line)
		default:
			offset, _ := strconv.ParseUint(f[2], 10, 64)
			results[i].Time, _ = strconv.ParseInt(f[3], 10, 64)
			id := batch[i].ID
			if f[0] == "=" {
				results[i].Duplicate, id = true, f[4]
			}
			if offset > 0 {
				results[i].Position = hub.Position{Epoch: f[1], Offset: offset, ID: id}
			}
		}
	}
	return results
}

// check compares results with what must have come of the batch. now is a time
// of the store not later than the call, and after one not earlier.
func (m *model) check(batch []hub.Publish, results []hub.Result, now, after int64) {
	m.t.Helper()
	for i := range batch {
		p, r := &batch[i], results[i]
		room := m.rooms[p.Room]
		scoped := p.Room + "/" + p.Key
		if k := m.keys[scoped]; p.Key != "" && k != nil {
			switch {
			case now >= k.expires && !r.Duplicate && r.Err == nil: // it is free
			case after < k.expires && k.data != string(p.Data):
				if !errors.Is(r.Err, hub.ErrKeyConflict) {
					m.failf("element %d: the key of %+v: %+v", i, k, r)
				}
				continue
			case after < k.expires || r.Duplicate:
				if r.Err != nil || !r.Duplicate || r.Position != k.at || r.Time != k.time {
					m.failf("element %d: the key of %+v: %+v", i, k, r)
				}
				continue
			case errors.Is(r.Err, hub.ErrKeyConflict) && k.data != string(p.Data):
				continue
			}
		}
		if r.Err != nil || r.Duplicate || r.Time == 0 {
			m.failf("element %d: %+v", i, r)
		}
		if !p.Ephemeral {
			if room.wanted || room.head.Epoch == "" {
				if r.Position.Epoch == room.previous {
					m.failf("element %d: the epoch is still %s", i, room.previous)
				}
				*room = modelRoom{previous: r.Position.Epoch}
				room.head.Epoch = r.Position.Epoch
			}
			if n := len(room.msgs); n > 0 && r.Time < room.msgs[n-1].Time {
				m.failf("element %d: time goes back", i)
			}
			room.head = hub.Position{Epoch: room.head.Epoch, Offset: room.head.Offset + 1, ID: p.ID}
			if r.Position != room.head {
				m.failf("element %d: at %v instead of %v", i, r.Position, room.head)
			}
			room.msgs = append(room.msgs, hub.Message{
				Room: p.Room, ID: p.ID, Offset: room.head.Offset, Time: r.Time, From: p.From, Data: p.Data,
			})
		}
		if p.Key != "" {
			m.keys[scoped] = &modelKey{string(p.Data), r.Position, r.Time, after + p.KeyTTL.Milliseconds()}
		}
	}
}

// look compares what Redis holds of a room that was published to at now.
func (m *model) look(name string, before bool, now, after int64) {
	m.t.Helper()
	room := m.rooms[name]
	age := m.o.HistoryAge.Milliseconds()
	f := strings.Fields(m.do("GET", m.s.HeadKey(name)).(string))
	floor, _ := strconv.ParseUint(f[4], 10, 64)
	if f[0] != room.head.Epoch || f[1] != strconv.FormatUint(room.head.Offset, 10) || f[2] != room.head.ID || floor < room.floor || floor >= room.head.Offset {
		m.failf("%s: the position is %v, of %v from %d", name, f, room.head, room.floor)
	}
	sum, largest := 0, 0
	for i := len(room.msgs) - 1; i >= 0; i-- { // from the newest down
		msg := &room.msgs[i]
		sum += msg.Size()
		if msg.Offset > floor {
			largest = sum
			if i < len(room.msgs)-1 && msg.Time+age <= now {
				m.failf("%s: %d is kept, though too old: %v", name, msg.Offset, f)
			}
			continue
		}
		if msg.Offset <= room.floor {
			break
		}
		if kept := room.head.Offset - msg.Offset; !room.cut && kept < uint64(m.o.HistoryCount) && sum <= m.o.HistoryBytes && msg.Time+age > after {
			m.failf("%s: %d is gone for no reason: %v", name, msg.Offset, f)
		}
	}
	if f[6] != strconv.Itoa(largest) {
		m.failf("%s: the kept are of %d bytes, the position says %v", name, largest, f)
	}
	if kept := int(room.head.Offset - floor); kept > m.o.HistoryCount+m.slack || kept > 1 && largest > m.o.HistoryBytes+m.o.HistoryBytes/16 {
		m.failf("%s: %d messages of %d bytes are kept", name, kept, largest)
	}
	if due, _ := strconv.ParseInt(f[7], 10, 64); due > room.msgs[floor].Time+age {
		m.failf("%s: due at %d, the oldest is of %d", name, due, room.msgs[floor].Time)
	}
	if floor > 0 && f[5] != "0" && f[5] != room.msgs[floor-1].ID {
		m.failf("%s: the floor's id is %s instead of %s", name, f[5], room.msgs[floor-1].ID)
	}
	room.floor, room.cut = floor, false
	n := 0
	for _, e := range m.do("XRANGE", m.s.StreamKey(name), strconv.FormatUint(floor+1, 10), "+").([]any) {
		entry := e.([]any)
		fields := entry[1].([]any)
		msg := &room.msgs[int(floor)+n]
		if entry[0] != strconv.FormatUint(msg.Offset, 10)+"-0" || fields[1] != msg.ID || fields[3] != strconv.FormatInt(msg.Time, 10) || fields[7] != string(msg.Data) {
			m.failf("%s: the stream has %v instead of %+v", name, e, msg)
		}
		n++
	}
	if n != int(room.head.Offset-floor) {
		m.failf("%s: the stream has %d entries: %v", name, n, f)
	}
	m.read(name, room)
	for key, least := range map[string]time.Duration{m.s.StreamKey(name): m.o.HistoryAge, m.s.HeadKey(name): m.o.HeadTTL} {
		more := m.o.HistoryAge / 16
		if before {
			more = 0
		}
		ttl := m.ttl(key)
		if passed := time.Duration(m.clock()-now+1) * time.Millisecond; ttl < least-passed || ttl > least+more {
			m.failf("%s: %s lives %v: %v", name, key, ttl, f)
		}
	}
}

// read reads on from some message, as a reader does: it gets all that came
// after, or is told.
func (m *model) read(name string, room *modelRoom) {
	m.t.Helper()
	last := &room.msgs[m.rand.IntN(len(room.msgs))]
	from := hub.Position{Epoch: room.head.Epoch, Offset: last.Offset, ID: last.ID}
	page, err := m.s.Read(m.t.Context(), hub.ReadRequest{Room: name, From: from, Limit: 10_000, Mode: hub.ReadAfter})
	if err != nil || page.Head != room.head {
		m.failf("%s: read after %v: %v, head %v instead of %v", name, from, err, page.Head, room.head)
	}
	next := last.Offset + 1
	if page.Gap != nil {
		if page.Gap.Reason != hub.GapEvicted || from.Offset >= page.Floor.Offset {
			m.failf("%s: read after %v: %+v, floor %v", name, from, page.Gap, page.Floor)
		}
		next = page.Gap.To.Offset + 1
	}
	for _, msg := range page.Messages {
		if msg.Offset != next || msg.ID != room.msgs[next-1].ID {
			m.failf("%s: read after %v: %d instead of %d", name, from, msg.Offset, next)
		}
		next++
	}
	if next != room.head.Offset+1 {
		m.failf("%s: read after %v: it ends before %d, gap %+v", name, from, next, page.Gap)
	}
}

package storetest

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/culvertd/culvert/hub"
)

// SeedVar names the environment variable that repeats a run of the model.
const SeedVar = "CULVERT_SEED"

var modelLaws = []law{
	{"RandomOperations", func(e *env) {
		seed := uint64(time.Now().UnixNano())
		if v := os.Getenv(SeedVar); v != "" {
			n, err := strconv.ParseUint(v, 10, 64)
			if err != nil {
				e.Fatalf("%s: %v", SeedVar, err)
			}
			seed = n
		}
		e.Cleanup(func() {
			if e.Failed() {
				e.Logf("repeat with %s=%d", SeedVar, seed)
			}
		})
		steps := 4000
		if e.b.RealTime || testing.Short() {
			steps = 800
		}
		newModel(e, seed).run(steps)
	}},
}

// Bounds of the model's store, in units where they are times.
const (
	modelMessages = 6
	modelAge      = 12
	modelRoomTTL  = 40
)

// model is what a store should be, in the plainest form: lists that are
// searched, and a clock that counts units.
type model struct {
	*env
	rand  *rand.Rand
	now   int
	rooms map[string]*modelRoom
	keys  map[[3]string]modelKey
	log   []string // the last operations, for a failure
}

type modelRoom struct {
	history []modelMessage
	head    hub.Position
	floor   hub.Position
	past    []hub.Position // positions seen in any life
	touched int            // when its position was last surely renewed
	members []modelMember  // in the order of joining
	watch   *recorder
	heard   []string // ids that the watcher must hear
}

type modelMessage struct {
	hub.Message
	expires int
}

type modelKey struct {
	fingerprint hub.Fingerprint
	result      hub.Result
	expires     int
}

type modelMember struct {
	client string
	leases map[string]int // holder: expires
}

func newModel(e *env, seed uint64) *model {
	m := &model{
		env:   e,
		rand:  rand.New(rand.NewPCG(seed, 1)),
		rooms: map[string]*modelRoom{},
		keys:  map[[3]string]modelKey{},
	}
	m.open(Options{HistoryMessages: modelMessages, HistoryAge: e.span(modelAge), RoomTTL: e.span(modelRoomTTL)})
	return m
}

// alive says that a life of n units and a half that began at unit born goes on.
func alive(expires, now int) bool { return now <= expires }

func (m *model) run(steps int) {
	names := []string{"a", "b", "a:b", "c"}
	for _, name := range names {
		m.rooms[name] = &modelRoom{}
	}
	m.rooms["a"].watch, _ = m.env.watch(m.store, "a") // so it is never forgotten
	for range steps {
		name := names[m.rand.IntN(len(names))]
		r := m.rooms[name]
		m.settle(name, r)
		switch n := m.rand.IntN(100); {
		case n < 40:
			m.publish(name)
		case n < 65:
			m.readSome(name, r)
		case n < 70:
			m.heads(names)
		case n < 80:
			m.renewSome(name, r)
		case n < 84:
			m.releaseSome(name, r)
		case n < 90:
			m.checkPresent(name, r)
		case !m.b.RealTime:
			d := 1 + m.rand.IntN(3)
			if m.rand.IntN(20) == 0 {
				d = m.rand.IntN(60)
			}
			m.note("pass %d", d)
			// A room with a watcher is never forgotten, and whose leases have
			// ended is told, because a hub asks all the time.
			const often = 5
			for left := d; left > 0; left -= often {
				m.pass(min(left, often))
				m.env.head("a")
				m.present("a", 0)
			}
			m.now += d
		}
	}
	for _, r := range m.rooms {
		if r.watch == nil {
			continue
		}
		if !r.watch.wait(func() bool { return len(r.watch.msgs) >= len(r.heard) || r.watch.resynced }) {
			m.fail("%d of %d messages were heard", len(r.watch.heard()), len(r.heard))
		}
		for i, msg := range r.watch.heard() {
			if !r.watch.resynced && msg.ID != r.heard[i] {
				m.fail("heard %d is %s, want %s", i, msg.ID, r.heard[i])
			}
		}
		m.checkEvents(r)
	}
}

func (m *model) note(format string, args ...any) {
	if len(m.log) == 25 {
		m.log = m.log[1:]
	}
	m.log = append(m.log, fmt.Sprintf("t=%d ", m.now)+fmt.Sprintf(format, args...))
}

func (m *model) fail(format string, args ...any) {
	m.Helper()
	for _, l := range m.log {
		m.Log(l)
	}
	m.Fatalf(format, args...)
}

// settle removes what has expired. Where the room may have been forgotten, it
// asks the store which it is.
func (m *model) settle(name string, r *modelRoom) {
	for len(r.history) > 0 && !alive(r.history[0].expires, m.now) {
		m.trim(r)
	}
	r.members = slices.DeleteFunc(r.members, func(o modelMember) bool {
		for h, expires := range o.leases {
			if !alive(expires, m.now) {
				delete(o.leases, h)
			}
		}
		return len(o.leases) == 0
	})
	if r.watch == nil && !r.head.IsZero() && m.now > r.touched+modelRoomTTL {
		h := m.env.head(name)
		switch h {
		case r.head:
			r.touched = m.now
		case hub.Position{}:
			m.note("%s was forgotten", name)
			r.head, r.floor, r.history = hub.Position{}, hub.Position{}, nil
		default:
			m.fail("head of %s is %v, want %v or none", name, h, r.head)
		}
	}
}

func (m *model) trim(r *modelRoom) {
	r.floor = r.history[0].Position()
	r.history = r.history[1:]
}

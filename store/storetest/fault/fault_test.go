package fault_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/store/memory"
	"github.com/culvertd/culvert/store/storetest"
	"github.com/culvertd/culvert/store/storetest/fault"
)

func newMemory(t *testing.T, o memory.Options) *memory.Store {
	t.Helper()
	s, err := memory.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func open(t *testing.T, o fault.Options) *fault.Store {
	t.Helper()
	s := fault.Wrap(newMemory(t, memory.Options{}), o)
	t.Cleanup(func() { s.Close() })
	return s
}

func publish(s hub.Store, room, key string) hub.Result {
	return s.Publish(context.Background(), []hub.Publish{message(room, key)})[0]
}

func message(room, key string) hub.Publish {
	return hub.Publish{Room: room, ID: hub.NewMessageID(), Data: []byte(`"x"`), Key: key, KeyTTL: time.Hour}
}

// Without rates the wrapper is not to be noticed.
func TestLawsHoldWithoutFaults(t *testing.T) {
	storetest.Run(t, storetest.Backend{
		Open: func(t *testing.T, o storetest.Options) storetest.Instance {
			var mu sync.Mutex
			now := time.Unix(1_800_000_000, 0)
			s := newMemory(t, memory.Options{
				HistoryMessages: o.HistoryMessages, HistoryBytes: o.HistoryBytes, HistoryAge: o.HistoryAge, RoomTTL: o.RoomTTL,
				TotalBytes: int64(o.TotalBytes), MaxKeys: o.MaxKeys, MaxRooms: o.MaxRooms,
				Clock: func() time.Time { mu.Lock(); defer mu.Unlock(); return now },
			})
			return storetest.Instance{
				Store:   fault.Wrap(s, fault.Options{}),
				Advance: func(d time.Duration) { mu.Lock(); defer mu.Unlock(); now = now.Add(d) },
			}
		},
	})
}

func TestTheSeedDecides(t *testing.T) {
	fates := func(seed uint64) (out []string) {
		s := open(t, fault.Options{Seed: seed, Rates: fault.All(fault.OpRates{Refuse: 0.3, Unknown: 0.3})})
		for i := range 60 {
			out = append(out, fmt.Sprint(publish(s, "room", fmt.Sprint(i)).Err))
			_, err := s.Read(context.Background(), hub.ReadRequest{Room: "room", Limit: 1})
			out = append(out, fmt.Sprint(err))
		}
		return out
	}
	if !slices.Equal(fates(1), fates(1)) {
		t.Error("the same seed gave different fates")
	}
	if slices.Equal(fates(1), fates(2)) {
		t.Error("different seeds gave the same fates")
	}
}

func TestRefusedMeansNotApplied(t *testing.T) {
	s := open(t, fault.Options{Seed: 1, Rates: fault.Rates{Publish: fault.OpRates{Refuse: 0.5}}})
	want := map[string]bool{}
	for range 50 {
		batch := []hub.Publish{message("room", ""), message("room", ""), message("room", "")}
		for i, r := range s.Publish(context.Background(), batch) {
			switch {
			case r.Err == nil:
				want[batch[i].ID] = true
			case !errors.Is(r.Err, hub.ErrUnavailable):
				t.Fatal(r.Err)
			}
		}
	}
	page, err := s.Read(context.Background(), hub.ReadRequest{Room: "room", Limit: 1000})
	if err != nil || len(page.Messages) != len(want) || len(want) == 0 || len(want) == 150 {
		t.Fatalf("%d messages, %d were confirmed, %v", len(page.Messages), len(want), err)
	}
	for _, m := range page.Messages {
		if !want[m.ID] {
			t.Errorf("%s was refused and is there", m.ID)
		}
	}
}

func TestFailAndCut(t *testing.T) {
	s := open(t, fault.Options{})
	ctx := context.Background()
	mine := errors.New("mine")
	s.Fail(fault.Ping, 2, mine)
	for i, want := range []error{mine, mine, nil} {
		if err := s.Ping(ctx); err != want {
			t.Errorf("ping %d: %v, want %v", i, err, want)
		}
	}
	s.Fail(fault.Read, -1, hub.ErrBehind)
	for range 3 {
		if _, err := s.Read(ctx, hub.ReadRequest{Room: "room", Limit: 1}); err != hub.ErrBehind {
			t.Error(err)
		}
	}
	s.Fail(fault.Read, 0, nil)
	if _, err := s.Read(ctx, hub.ReadRequest{Room: "room", Limit: 1}); err != nil {
		t.Error(err)
	}

	r := newReader(s, "room")
	stop, err := s.Watch(ctx, "room", r)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	s.Cut()
	if err := publish(s, "room", "").Err; !errors.Is(err, hub.ErrUnavailable) {
		t.Error(err)
	}
	if err := s.Ping(ctx); !errors.Is(err, hub.ErrUnavailable) {
		t.Error(err)
	}
	if r.resyncs() != 0 {
		t.Error("a resync while cut")
	}
	s.Mend()
	if r.resyncs() != 1 {
		t.Errorf("%d resyncs after Mend", r.resyncs())
	}
	if err := publish(s, "room", "").Err; err != nil {
		t.Error(err)
	}
}

func TestPauseAndDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := fault.Wrap(newMemory(t, memory.Options{}), fault.Options{})
		defer s.Close()
		r := newReader(s, "room")
		stop, err := s.Watch(context.Background(), "room", r)
		if err != nil {
			t.Fatal(err)
		}
		defer stop()
		s.Pause()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		start := time.Now()
		if err := s.Ping(ctx); !errors.Is(err, hub.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		done := make(chan error)
		go func() { done <- publish(s, "room", "").Err }()
		synctest.Wait()
		select {
		case err := <-done:
			t.Errorf("a publish went through: %v", err)
		default:
		}
		s.Resume()
		if err := <-done; err != nil {
			t.Error(err)
		}

		s.SetRates(fault.All(fault.OpRates{Delay: 1, MaxDelay: time.Minute}))
		refused, unknown := 0, 0
		for range 20 {
			ctx, cancel := context.WithTimeout(context.Background(), time.Microsecond)
			switch err := s.Publish(ctx, []hub.Publish{message("room", "")})[0].Err; {
			case errors.Is(err, hub.ErrUnavailable):
				refused++
			case errors.Is(err, hub.ErrOutcomeUnknown):
				unknown++
			default:
				t.Errorf("error %v", err)
			}
			cancel()
		}
		if refused == 0 || unknown == 0 {
			t.Errorf("%d refused, %d unknown", refused, unknown)
		}
		s.SetRates(fault.Rates{})
		if heads, err := s.Heads(context.Background(), []string{"room"}); err != nil || heads[0].Offset != uint64(1+unknown) {
			t.Errorf("%v, %v; want offset %d", heads, err, 1+unknown)
		}
	})
}

// reader is the least that a hub does: it keeps what follows without a hole, and
// reads the rest when told to.
type reader struct {
	s    hub.Store
	room string
	wake chan struct{}

	mu       sync.Mutex
	got      []*hub.Message
	gaps     []*hub.Gap
	resynced int
}

func newReader(s hub.Store, room string) *reader {
	return &reader{s: s, room: room, wake: make(chan struct{}, 1)}
}

func (r *reader) Messages(_ string, msgs []*hub.Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range msgs {
		switch at := r.at(); {
		case m.Ephemeral():
		case m.Offset == at.Offset+1 && (at.IsZero() || m.Epoch == at.Epoch):
			r.got = append(r.got, m)
		case m.Epoch != at.Epoch || m.Offset > at.Offset:
			r.poke()
		}
	}
}

func (r *reader) Presence(string, []hub.PresenceEvent) {}

func (r *reader) Resync(string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.resynced++
	r.poke()
}

func (r *reader) resyncs() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.resynced
}

func (r *reader) poke() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func (r *reader) at() hub.Position {
	if len(r.got) == 0 {
		return hub.Position{}
	}
	return r.got[len(r.got)-1].Position()
}

// run reads from the store whenever it was woken.
func (r *reader) run(done <-chan struct{}) {
	for {
		select {
		case <-done:
			return
		case <-r.wake:
		}
		r.mu.Lock()
		from := r.at()
		r.mu.Unlock()
		page, err := r.s.Read(context.Background(), hub.ReadRequest{Room: r.room, From: from, Limit: 50})
		if err != nil {
			time.Sleep(10 * time.Millisecond)
			r.poke()
			continue
		}
		r.mu.Lock()
		if r.at() == from {
			if page.Gap != nil {
				r.gaps = append(r.gaps, page.Gap)
			}
			r.got = append(r.got, page.Messages...)
		}
		if page.More || r.at() != page.Head {
			r.poke()
		}
		r.mu.Unlock()
	}
}

// With every fault at once, publishers that repeat until they know, and readers
// that read when something is missing: each message is there once, in order.
func TestPublishOnceReadOnce(t *testing.T) {
	met := map[fault.Fault]int{}
	for f := fault.Refused; f <= fault.Resynced; f++ {
		met[f] = 0
	}
	for seed := range uint64(8) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { simulate(t, seed, met) })
		})
	}
	for f, n := range met {
		if n == 0 {
			t.Errorf("no fault of kind %d was met", f)
		}
	}
}

// simulate adds the faults it met to met.
func simulate(t *testing.T, seed uint64, met map[fault.Fault]int) {
	rates := fault.All(fault.OpRates{Refuse: 0.1, Unknown: 0.2, Behind: 0.05, Delay: 0.2, MaxDelay: 50 * time.Millisecond})
	rates.Watch, rates.Deliveries = fault.OpRates{}, fault.DeliveryRates{
		Drop: 0.1, Duplicate: 0.1, Reorder: 0.1, Late: 0.1, Resync: 0.05, MaxLate: 30 * time.Millisecond,
	}
	s := fault.Wrap(newMemory(t, memory.Options{}), fault.Options{Seed: seed, Rates: rates})
	done := make(chan struct{})
	var readers, publishers sync.WaitGroup
	r := newReader(s, "room")
	if _, err := s.Watch(context.Background(), "room", r); err != nil {
		t.Fatal(err)
	}
	readers.Go(func() { r.run(done) })

	const each = 60
	for p := range 3 {
		publishers.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, uint64(p)))
			for i := 0; i < each; {
				var batch []hub.Publish
				for range min(1+rnd.IntN(5), each-i) {
					m := message("room", fmt.Sprint(p, "-", i))
					m.Data = fmt.Appendf(nil, "%q", m.Key)
					batch = append(batch, m)
					i++
				}
				for len(batch) > 0 {
					ctx, cancel := context.WithTimeout(context.Background(), 40*time.Millisecond)
					res := s.Publish(ctx, batch)
					cancel()
					var again []hub.Publish
					for j, res := range res {
						if errors.Is(res.Err, hub.ErrUnavailable) || errors.Is(res.Err, hub.ErrOutcomeUnknown) {
							again = append(again, batch[j])
						} else if res.Err != nil {
							t.Error(res.Err)
						}
					}
					batch = again
					time.Sleep(time.Duration(rnd.IntN(10)) * time.Millisecond)
				}
			}
		})
	}
	publishers.Wait()
	s.SetRates(fault.Rates{})
	time.Sleep(time.Second) // what is late arrives
	s.Resync()
	time.Sleep(time.Second)
	close(done)
	r.poke()
	readers.Wait()

	seen := map[string]bool{}
	for i, m := range r.got {
		if seen[string(m.Data)] || m.Offset != uint64(i+1) {
			t.Fatalf("message %d is %s at %v, seen before: %t", i, m.Data, m.Position(), seen[string(m.Data)])
		}
		seen[string(m.Data)] = true
	}
	if len(seen) != 3*each || len(r.gaps) > 0 {
		t.Errorf("%d of %d messages, gaps %v", len(seen), 3*each, r.gaps)
	}
	for f := range met {
		met[f] += s.Count(f)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestSwapIsAFailover(t *testing.T) {
	ctx := context.Background()
	first := newMemory(t, memory.Options{})
	s := fault.Wrap(first, fault.Options{})
	defer s.Close()
	r := newReader(s, "room")
	if _, err := s.Watch(ctx, "room", r); err != nil {
		t.Fatal(err)
	}
	kept := publish(s, "room", "").Position
	lagging, err := first.Clone()
	if err != nil {
		t.Fatal(err)
	}
	lost := publish(s, "room", "").Position
	old, err := s.Swap(ctx, lagging)
	if err != nil || old != hub.Store(first) {
		t.Fatal(old, err)
	}
	if r.resyncs() != 2 { // before it listens to the new one, and after
		t.Errorf("%d resyncs", r.resyncs())
	}
	page, err := s.Read(ctx, hub.ReadRequest{Room: "room", From: lost, Limit: 1})
	if err != nil || page.Gap == nil || page.Gap.Reason != hub.GapLost || page.Gap.To != kept {
		t.Errorf("%+v, %v", page.Gap, err)
	}
	forked := publish(s, "room", "").Position
	page, err = s.Read(ctx, hub.ReadRequest{Room: "room", From: lost, Limit: 1})
	if err != nil || page.Gap == nil || page.Gap.Reason != hub.GapFork || page.Gap.To != forked {
		t.Errorf("%+v, %v", page.Gap, err)
	}
	before := len(r.got)
	publish(first, "room", "") // the old one is not listened to any more
	publish(first, "room", "")
	if len(r.got) != before {
		t.Error("a delivery of the old store arrived")
	}
	if err := old.Close(); err != nil {
		t.Error(err)
	}
}

func TestRatesAreChecked(t *testing.T) {
	for _, r := range []fault.Rates{
		fault.All(fault.OpRates{Refuse: 0.6, Unknown: 0.6}),
		fault.All(fault.OpRates{Refuse: -0.1}),
		fault.All(fault.OpRates{Delay: 0.5}),
		{Deliveries: fault.DeliveryRates{Drop: 1.1, MaxLate: 1}},
		{Deliveries: fault.DeliveryRates{Late: 0.1}},
	} {
		if r.Validate() == nil {
			t.Errorf("accepted: %+v", r)
		}
	}
	if err := (fault.Rates{}).Validate(); err != nil {
		t.Error(err)
	}
}

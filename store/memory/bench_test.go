package memory_test

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/store/memory"
)

const benchRooms = 100

var (
	benchData = []byte(`{"text":"` + string(make128()) + `"}`)
	benchRoom = func() (names [benchRooms]string) {
		for i := range names {
			names[i] = fmt.Sprint("room-", i)
		}
		return names
	}()
)

func make128() []byte {
	b := make([]byte, 117)
	for i := range b {
		b[i] = 'x'
	}
	return b
}

func openBench(b *testing.B) *memory.Store {
	s, err := memory.New(memory.Options{MaxKeys: 1 << 30, MaxKeyBytes: 1 << 40})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	return s
}

func publishOne(b *testing.B, s *memory.Store, p hub.Publish) {
	one := [1]hub.Publish{p}
	if r := s.Publish(context.Background(), one[:]); r[0].Err != nil {
		b.Fatal(r[0].Err)
	}
}

func BenchmarkPublish(b *testing.B) {
	s := openBench(b)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		publishOne(b, s, hub.Publish{Room: benchRoom[i%benchRooms], ID: "0123456789", From: "u", Data: benchData})
	}
}

// keyed's key is made without an allocation that counts: 20 bytes of a table.
func keyed(i uint64, buf []byte) hub.Publish {
	return hub.Publish{
		Room: benchRoom[i%benchRooms], ID: "0123456789", From: "u", Data: benchData,
		Subject: "user:1", Key: string(strconv.AppendUint(buf[:0], 1e18+i, 10)), KeyTTL: time.Hour,
		Fingerprint: hub.Fingerprint{1},
	}
}

func BenchmarkPublishWithKey(b *testing.B) {
	s := openBench(b)
	b.ReportAllocs()
	var buf [24]byte
	for i := uint64(0); b.Loop(); i++ {
		publishOne(b, s, keyed(i, buf[:]))
	}
}

func BenchmarkPublishWithKeyParallel(b *testing.B) {
	s := openBench(b)
	b.ReportAllocs()
	var n atomic.Uint64
	b.RunParallel(func(pb *testing.PB) {
		var buf [24]byte
		for pb.Next() {
			publishOne(b, s, keyed(n.Add(1), buf[:]))
		}
	})
}

func BenchmarkPublishDuplicate(b *testing.B) {
	s := openBench(b)
	var buf [24]byte
	p := keyed(1, buf[:])
	publishOne(b, s, p)
	b.ReportAllocs()
	for b.Loop() {
		publishOne(b, s, p)
	}
}

type nobody struct{}

func (nobody) Messages(string, []*hub.Message)      {}
func (nobody) Presence(string, []hub.PresenceEvent) {}
func (nobody) Resync(string)                        {}

func BenchmarkPublishWatched(b *testing.B) {
	s := openBench(b)
	for _, room := range benchRoom {
		if _, err := s.Watch(context.Background(), room, nobody{}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		publishOne(b, s, hub.Publish{Room: benchRoom[i%benchRooms], ID: "0123456789", From: "u", Data: benchData})
	}
}

// BenchmarkPublishBatch counts messages, 100 in a batch.
func BenchmarkPublishBatch(b *testing.B) {
	for _, rooms := range []int{1, 100} {
		b.Run(fmt.Sprint("rooms=", rooms), func(b *testing.B) {
			s := openBench(b)
			batch := make([]hub.Publish, 100)
			for i := range batch {
				batch[i] = hub.Publish{Room: benchRoom[i%rooms], ID: "0123456789", From: "u", Data: benchData}
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if i%len(batch) == 0 {
					s.Publish(context.Background(), batch)
				}
			}
		})
	}
}

// BenchmarkPublishFull publishes where every message evicts another by
// TotalBytes.
func BenchmarkPublishFull(b *testing.B) {
	s, err := memory.New(memory.Options{TotalBytes: 2 << 20})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	rooms := make([]string, 10_000)
	for i := range rooms {
		rooms[i] = fmt.Sprint("room-", i)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		publishOne(b, s, hub.Publish{Room: rooms[i%len(rooms)], ID: "0123456789", From: "u", Data: benchData})
	}
}

func BenchmarkRead(b *testing.B) {
	s := openBench(b)
	var middle hub.Position
	for i := range 1000 {
		p := s.Publish(context.Background(), []hub.Publish{{Room: "room", ID: "0123456789", Data: benchData}})[0].Position
		if i == 500 {
			middle = p
		}
	}
	for _, limit := range []int{1, 100} {
		b.Run(fmt.Sprint("limit=", limit), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				page, err := s.Read(context.Background(), hub.ReadRequest{Room: "room", From: middle, Limit: limit})
				if err != nil || len(page.Messages) != limit {
					b.Fatal(err, len(page.Messages))
				}
			}
		})
	}
}

// BenchmarkRenew counts leases, 100 in a call, of one room with 10,000 members.
func BenchmarkRenew(b *testing.B) {
	s := openBench(b)
	leases := make([]hub.Lease, 10_000)
	for i := range leases {
		leases[i] = hub.Lease{Room: "room", Client: fmt.Sprint("client", i), Holder: "node", TTL: time.Minute}
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i%100 == 0 {
			at := i % len(leases)
			if err := s.Renew(context.Background(), leases[at:at+100]); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func BenchmarkPresent(b *testing.B) {
	s := openBench(b)
	for i := range 10_000 {
		s.Renew(context.Background(), []hub.Lease{{Room: "room", Client: fmt.Sprint("client", i), Holder: "node", TTL: time.Hour}})
	}
	b.ReportAllocs()
	for b.Loop() {
		if p, err := s.Present(context.Background(), "room", 100); err != nil || p.Count != 10_000 {
			b.Fatal(p.Count, err)
		}
	}
}

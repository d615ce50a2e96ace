//go:build unix

package redis_test

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/store/redis"
)

// The benchmarks publish 200 bytes to 100 rooms. Compare Publish with Bare of
// the same run only: both share the machine with the server.

// The server's core, apart from the benchmarks' own, which whoever starts them
// has set.
var serverCore = flag.Int("server-core", -1, "run redis-server on this core only")

func benchServer(b *testing.B) (*server, *redis.Store) {
	srv := startServer(b)
	if *serverCore >= 0 {
		if out, err := exec.Command("taskset", "-a", "-c", "-p", strconv.Itoa(*serverCore), strconv.Itoa(srv.cmd.Process.Pid)).CombinedOutput(); err != nil {
			b.Fatalf("taskset: %v\n%s", err, out)
		}
	}
	return srv, open(b, redis.Options{URL: srv.url()})
}

var benchData = []byte(`"` + strings.Repeat("x", 198) + `"`)

// spent is how many seconds of CPU the server has used, and for how many calls
// of scripts.
func spent(b *testing.B, s *redis.Store) (cpu, calls float64) {
	for _, section := range []string{"cpu", "commandstats"} {
		text, err := s.Do(context.Background(), "INFO", section)
		if err != nil {
			b.Fatal(err)
		}
		for line := range strings.Lines(fmt.Sprint(text)) {
			k, v, _ := strings.Cut(strings.TrimSpace(line), ":")
			switch k {
			case "used_cpu_user", "used_cpu_sys":
				f, _ := strconv.ParseFloat(v, 64)
				cpu += f
			case "cmdstat_evalsha":
				v, _, _ = strings.Cut(strings.TrimPrefix(v, "calls="), ",")
				calls, _ = strconv.ParseFloat(v, 64)
			}
		}
	}
	return cpu, calls
}

func measure(b *testing.B, s *redis.Store, run func()) {
	b.ReportAllocs()
	cpu, calls := spent(b, s)
	b.ResetTimer()
	run()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "publishes/s")
	cpuAfter, callsAfter := spent(b, s)
	b.ReportMetric((cpuAfter-cpu)*1e6/float64(b.N), "redis-us/op")
	b.ReportMetric(float64(b.N)/(callsAfter-calls), "op/call")
}

func BenchmarkPublish(b *testing.B) {
	for _, key := range []bool{false, true} {
		for _, publishers := range []int{1, 64, 512} {
			b.Run(fmt.Sprintf("key=%t/publishers=%d", key, publishers), func(b *testing.B) {
				_, s := benchServer(b)
				var next atomic.Int64
				measure(b, s, func() {
					var wg sync.WaitGroup
					for range publishers {
						wg.Go(func() {
							batch := make([]hub.Publish, 1)
							for {
								n := next.Add(1)
								if n > int64(b.N) {
									return
								}
								batch[0] = hub.Publish{Room: benchRooms[n%100], ID: hub.NewMessageID(), From: "user", Data: benchData}
								if key {
									batch[0].Key, batch[0].Subject, batch[0].KeyTTL = strconv.FormatInt(n, 36), "user", time.Hour
								}
								if r := s.Publish(context.Background(), batch)[0]; r.Err != nil {
									b.Error(r.Err)
									return
								}
							}
						})
					}
					wg.Wait()
				})
			})
		}
	}
}

var benchRooms = func() (rooms [100]string) {
	for i := range rooms {
		rooms[i] = fmt.Sprint("room-", i)
	}
	return rooms
}()

// bareCall is a call of the publish script for one message with a key, as the
// store makes it: the keys and the arguments.
func bareCall(s *redis.Store, room, fence, sequence, key string) (keys, args []string) {
	keys = []string{fence, s.HeadKey(room), s.StreamKey(room), s.DedupeKey(room, "user", key)}
	args = append([]string{sequence, "9999999999999", "0123456789abc"}, s.PublishArgs()...)
	return keys, append(args, "1", "1", room, s.Channel(room), "1", "0123456789", "user", string(benchData), "10 4 200",
		strings.Repeat("0123456789abcdef", 2), "3600000")
}

// BenchmarkBare is what the server can do with the script, one message a call:
// commands made beforehand, so many outstanding on one connection.
func BenchmarkBare(b *testing.B) {
	for _, outstanding := range []int{1, 64, 512} {
		b.Run(fmt.Sprintf("outstanding=%d", outstanding), func(b *testing.B) {
			srv, s := benchServer(b)
			for _, room := range benchRooms {
				mustPublish(b, s, message(room, "x")) // the script is loaded
			}
			_, sha := s.PublishScript()
			conn, err := net.Dial("tcp", srv.addr())
			if err != nil {
				b.Fatal(err)
			}
			defer conn.Close()
			measure(b, s, func() {
				tokens := make(chan struct{}, outstanding)
				var reader sync.WaitGroup
				reader.Go(func() {
					in := bufio.NewReaderSize(conn, 64<<10)
					for range b.N {
						head, err := in.ReadString('\n')
						if err != nil || head[0] != '$' {
							b.Errorf("answer %q, %v", head, err)
							return
						}
						n, _ := strconv.Atoi(strings.TrimSpace(head[1:]))
						if _, err := in.Discard(n + 2); err != nil {
							b.Error(err)
							return
						}
						<-tokens
					}
				})
				out := bufio.NewWriterSize(conn, 64<<10)
				for i := range b.N {
					select {
					case tokens <- struct{}{}:
					default:
						out.Flush()
						tokens <- struct{}{}
					}
					keys, args := bareCall(s, benchRooms[i%100], fmt.Sprintf("bare:%d", i%8), strconv.Itoa(i+1), strconv.Itoa(i))
					writeCommand(out, append(append([]string{"EVALSHA", sha, strconv.Itoa(len(keys))}, keys...), args...)...)
				}
				out.Flush()
				reader.Wait()
			})
		})
	}
}

func writeCommand(w *bufio.Writer, args ...string) {
	fmt.Fprintf(w, "*%d\r\n", len(args))
	for _, a := range args {
		w.WriteByte('$')
		w.WriteString(strconv.Itoa(len(a)))
		w.WriteString("\r\n")
		w.WriteString(a)
		w.WriteString("\r\n")
	}
}

func BenchmarkRead(b *testing.B) {
	_, s := benchServer(b)
	for range 1000 {
		mustPublish(b, s, hub.Publish{Room: "room", ID: hub.NewMessageID(), Data: benchData})
	}
	for _, limit := range []int{1, 100} {
		b.Run(fmt.Sprint("limit=", limit), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if page, err := s.Read(context.Background(), hub.ReadRequest{Room: "room", Mode: hub.ReadLatest, Limit: limit}); err != nil || len(page.Messages) != limit {
					b.Fatal(len(page.Messages), err)
				}
			}
		})
	}
}

func BenchmarkRenew(b *testing.B) {
	_, s := benchServer(b)
	leases := make([]hub.Lease, 100)
	for i := range leases {
		leases[i] = hub.Lease{Room: "room", Client: fmt.Sprint("client-", i), Holder: "node", From: "user", TTL: time.Minute}
	}
	measure(b, s, func() {
		for range b.N {
			if err := s.Renew(context.Background(), leases); err != nil {
				b.Fatal(err)
			}
		}
	})
}

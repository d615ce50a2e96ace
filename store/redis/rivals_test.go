//go:build unix

package redis_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/culvertd/culvert/hub/needtest"
)

// What other programs get out of the same redis-server with the same script:
// beside BenchmarkPublish of the same run.

var goRedis = flag.String("goredis", "", "program of cmd/bench-limits/goredis, for BenchmarkGoRedis")

// BenchmarkRedisBenchmark is redis-benchmark with the bare script, one message
// with a new key a call. It can fill in numbers at random only, each place of
// a command with another, so all messages go to one room, and each call is a
// lane of its own.
func BenchmarkRedisBenchmark(b *testing.B) {
	path := needtest.Program(b, "redis-benchmark", "valkey-benchmark")
	for _, load := range []struct{ connections, pipeline int }{{64, 1}, {64, 8}, {16, 32}, {8, 64}} {
		b.Run(fmt.Sprintf("c=%d,P=%d", load.connections, load.pipeline), func(b *testing.B) {
			srv, s := benchServer(b)
			mustPublish(b, s, message("loaded", "x")) // the script is loaded
			_, sha := s.PublishScript()
			keys, args := bareCall(s, "room-0", "bare:__rand_int__", "1", "__rand_int__")
			args = append(append([]string{
				"-p", strconv.Itoa(srv.port), "-c", strconv.Itoa(load.connections), "-P", strconv.Itoa(load.pipeline), "-n", strconv.Itoa(b.N),
				"-r", "2000000000", "--csv", "EVALSHA", sha, strconv.Itoa(len(keys)),
			}, keys...), args...)
			out, err := exec.Command(path, args...).CombinedOutput()
			if err != nil {
				b.Fatalf("redis-benchmark: %v\n%s", err, out)
			}
			rate, err := benchmarkRate(string(out))
			if err != nil {
				b.Fatal(err)
			}
			// One of the random numbers may come twice.
			var length int
			if fmt.Sscan(strings.Fields(srv.cli("GET", s.HeadKey("room-0")))[1], &length); length < b.N*99/100 {
				b.Fatalf("of %d messages %d were published:\n%s", b.N, length, out)
			}
			b.ReportMetric(rate, "publishes/s")
		})
	}
}

// benchmarkRate reads what redis-benchmark --csv writes: a line of titles,
// then "test","rps",... in quotes.
func benchmarkRate(text string) (float64, error) {
	for line := range strings.Lines(text) {
		fields := strings.Split(strings.TrimSpace(line), `","`)
		if len(fields) < 3 || strings.HasPrefix(line, `"test"`) {
			continue
		}
		return strconv.ParseFloat(fields[1], 64)
	}
	return 0, fmt.Errorf("redis-benchmark says nothing of its rate: %q", text)
}

// BenchmarkGoRedis is go-redis in its default form, from as many goroutines.
func BenchmarkGoRedis(b *testing.B) {
	if *goRedis == "" {
		b.Skip("-goredis does not say where the program is")
	}
	for _, goroutines := range []int{64, 512} {
		b.Run(fmt.Sprintf("goroutines=%d", goroutines), func(b *testing.B) {
			srv, s := benchServer(b)
			type call struct {
				Keys []string `json:"keys"`
				Args []string `json:"args"`
			}
			var work struct {
				Script string `json:"script"`
				Rooms  []call `json:"rooms"`
			}
			work.Script, _ = s.PublishScript()
			for _, room := range benchRooms {
				keys, args := bareCall(s, room, "bare:~g~", "~n~", "~n~")
				work.Rooms = append(work.Rooms, call{keys, args})
			}
			in, err := json.Marshal(work)
			if err != nil {
				b.Fatal(err)
			}
			c := exec.Command(*goRedis, "-addr", srv.addr(), "-goroutines", strconv.Itoa(goroutines), "-publishes", strconv.Itoa(b.N))
			c.Stdin = bytes.NewReader(in)
			var errOut bytes.Buffer
			c.Stderr = &errOut
			out, err := c.Output()
			if err != nil {
				b.Fatalf("goredis: %v\n%s", err, errOut.Bytes())
			}
			var outcome struct{ Publishes, Seconds float64 }
			if err := json.Unmarshal(out, &outcome); err != nil || outcome.Seconds <= 0 || int(outcome.Publishes) != b.N {
				b.Fatalf("goredis: %v\n%s", err, out)
			}
			b.ReportMetric(outcome.Publishes/outcome.Seconds, "publishes/s")
		})
	}
}

func TestBenchmarkRate(t *testing.T) {
	const head = `"test","rps","avg_latency_ms"` + "\n"
	if rate, err := benchmarkRate(head + `"EVALSHA x 4","98039.22","1.204"` + "\n"); err != nil || rate != 98039.22 {
		t.Errorf("%v, %v", rate, err)
	}
	for _, text := range []string{"", head, head + `"EVALSHA","much","1"`, "Error: NOSCRIPT\n"} {
		if rate, err := benchmarkRate(text); err == nil {
			t.Errorf("%q has the rate %v", text, rate)
		}
	}
}

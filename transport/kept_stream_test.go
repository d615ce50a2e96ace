package transport_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/transport/servertest"
)

// A connection that was kept for polls carries a stream like a new one: it is
// written to directly, and not by a goroutine for each message.
func TestStreamOnKeptConnection(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only there the HTTP server gets connections back")
	}
	for _, kept := range []bool{false, true} {
		server := servertest.Start(t, servertest.Options{Polled: true})
		publish := func(room string) {
			if r := server.Hub.Publish(t.Context(), []hub.Publish{{Room: room, Data: []byte("1")}})[0]; r.Err != nil {
				t.Fatal(r.Err)
			}
		}
		nc, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		nc.SetDeadline(time.Now().Add(20 * time.Second))
		br := bufio.NewReader(nc)
		if kept {
			io.WriteString(nc, "GET /rooms/park?wait=20&cursor=0 HTTP/1.1\r\nHost: h\r\n\r\n")
			for server.Engine.Parked() == 0 {
				time.Sleep(time.Millisecond)
			}
			publish("park")
			res, err := http.ReadResponse(br, nil)
			if err != nil {
				t.Fatal(err)
			}
			io.Copy(io.Discard, res.Body)
		}
		io.WriteString(nc, "GET /rooms/a/sse HTTP/1.1\r\nHost: h\r\n\r\n")
		read := func(what string) {
			for {
				line, err := br.ReadString('\n')
				if err != nil {
					t.Fatal(err)
				}
				if strings.Contains(line, what) {
					return
				}
			}
		}
		read("hello")
		for range 20 {
			publish("a")
			read(`"type":"message"`)
		}
		// A busy machine may need one now and then.
		if n := server.Hub.Stats().Writers; n > 5 {
			t.Errorf("kept before: %v: %d messages of 20 had a writer", kept, n)
		}
	}
}

package stream_test

import (
	"bufio"
	"io"
	"log"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/transport/transporttest"
)

// TestHTTP2Lasts: what a server allows for a whole answer is not the end of a
// stream, which lives by its heartbeats and by deadlines of its own.
func TestHTTP2Lasts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, nil, hub.Options{})
		network, err := transporttest.NewSecure(transporttest.NewPipes(), "h2")
		if err != nil {
			t.Fatal(err)
		}
		web := &http.Server{
			Handler: s, ErrorLog: log.New(io.Discard, "", 0),
			ReadHeaderTimeout: 10 * time.Second, WriteTimeout: 2 * time.Minute, IdleTimeout: 75 * time.Second,
		}
		done := make(chan error)
		go func() { done <- web.Serve(network) }()
		client := network.Client()
		defer func() {
			client.CloseIdleConnections()
			web.Close()
			network.Close()
			<-done
		}()
		for _, path := range []string{"/sse/a", "/stream/a"} {
			res, err := client.Get("https://localhost" + path)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if res.ProtoMajor != 2 {
				t.Fatalf("it speaks %s", res.Proto)
			}
			time.AfterFunc(10*time.Minute, func() { s.publish("a", `"late"`) })
			br, beats := bufio.NewReader(res.Body), 0
			for {
				line, err := br.ReadString('\n')
				if err != nil {
					t.Fatalf("%s: after %d heartbeats: %v", path, beats, err)
				}
				if strings.Contains(line, `"type":"heartbeat"`) {
					beats++
				}
				if strings.Contains(line, `"late"`) {
					break
				}
			}
			if beats < 35 || beats > 45 {
				t.Errorf("%s: %d heartbeats in ten minutes", path, beats)
			}
		}
	})
}

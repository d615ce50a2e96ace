package transport

import (
	"bufio"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/store/memory"
	"github.com/culvertd/culvert/transport/poller"
	"github.com/culvertd/culvert/transport/wire"
)

// site is a Server behind a real http.Server. Its store is prompt or may wait.
type site struct {
	*Server
	t       *testing.T
	hub     *hub.Hub
	store   *faultyStore
	http    *httptest.Server
	log     *syncBuffer
	address string
}

// siteSetup says what a site is like. Its zero value takes no connection over
// for publishes.
type siteSetup struct {
	takes, waits bool
	alone        bool // the HTTP server keeps all connections, those of polls too
	level        slog.Level
	o            Options
}

func newSite(t *testing.T, with siteSetup) *site {
	t.Helper()
	store, err := memory.New(memory.Options{MaxKeys: 2000, HistoryBytes: 4000})
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, store: &faultyStore{Store: store}, log: new(syncBuffer)}
	var below hub.Store = store
	if with.waits {
		below = s.store
	}
	if s.hub, err = hub.New(below, hub.Options{Framings: wire.Framings(wire.Options{})}); err != nil {
		t.Fatal(err)
	}
	pl := poller.New()
	with.o.AllowOrigins = []string{"https://app.example"}
	if !with.alone {
		with.o.Poller = pl
	}
	with.o.Logger = slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: with.level}))
	if s.Server, err = New(s.hub, standIns(), with.o); err != nil {
		t.Fatal(err)
	}
	s.http = httptest.NewUnstartedServer(s.Server)
	if with.takes {
		s.http.Config.ConnContext = s.ConnContext
	}
	s.http.Config.ErrorLog = log.New(s.log, "http server: ", 0)
	s.http.Start()
	s.address = s.http.Listener.Addr().String()
	t.Cleanup(func() {
		s.hub.Close()
		s.http.CloseClientConnections()
		s.Server.Close() // hangs where anything is left
		s.http.Close()
		pl.Close()
		store.Close()
		if n := s.Parked(); n != 0 {
			t.Errorf("%d connections are left", n)
		}
		if log := s.log.String(); strings.Contains(log, "hijacked") {
			t.Errorf("something is written to a connection that was given away:\n%s", log)
		}
	})
	return s
}

// publisher is one connection.
type publisher struct {
	*site
	net.Conn
	*bufio.Reader
}

func (s *site) dial() *publisher {
	s.t.Helper()
	nc, err := net.Dial("tcp", s.address)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(30 * time.Second))
	return &publisher{site: s, Conn: nc, Reader: bufio.NewReader(nc)}
}

// Read is the buffered one.
func (p *publisher) Read(b []byte) (int, error) { return p.Reader.Read(b) }

func (p *publisher) WriteTo(w io.Writer) (int64, error) { return p.Reader.WriteTo(w) }

func (p *publisher) send(text string) { io.WriteString(p.Conn, text) }

// raw reads one answer, as it came.
func (p *publisher) raw() (string, error) {
	var head strings.Builder
	length := 0
	for {
		line, err := p.ReadString('\n')
		if err != nil {
			return head.String(), err
		}
		head.WriteString(line)
		if value, ok := strings.CutPrefix(line, "Content-Length: "); ok {
			length, _ = strconv.Atoi(strings.TrimSpace(value))
		}
		if line == "\r\n" {
			break
		}
	}
	body := make([]byte, length)
	_, err := io.ReadFull(p.Reader, body)
	return head.String() + string(body), err
}

// rest reads all answers until the connection ends.
func (p *publisher) rest() string {
	b, _ := io.ReadAll(p.Reader)
	return string(b)
}

func postOf(room, headers, body string) string {
	return fmt.Sprintf("POST /rooms/%s HTTP/1.1\r\nHost: h\r\n%sContent-Length: %d\r\n\r\n%s", room, headers, len(body), body)
}

// ask sends a whole request and reads its answer.
func (p *publisher) ask(request string) string {
	p.t.Helper()
	p.send(request)
	answer, err := p.raw()
	if err != nil {
		p.t.Fatalf("%q: %v after %q", request, err, answer)
	}
	return answer
}

// publishes makes p a connection that was taken over.
func (p *publisher) publishes(n int) {
	p.t.Helper()
	for range n {
		if answer := p.ask(postOf("warm", "", "1")); !strings.HasPrefix(answer, "HTTP/1.1 201") {
			p.t.Fatal(answer)
		}
	}
}

// await waits until so many connections are taken over.
func (s *site) await(n int) {
	s.t.Helper()
	for begin := time.Now(); s.Parked() != n; time.Sleep(time.Millisecond) {
		if time.Since(begin) > 20*time.Second {
			s.t.Fatalf("%d connections are taken over, want %d", s.Parked(), n)
		}
	}
}

// varies is what two servers with the same messages answer differently.
var varies = regexp.MustCompile(`"(epoch|id|cursor|before)":"[^"]*"|"time":\d+|Date: [^\r]*`)

func steady(answer string) string { return varies.ReplaceAllString(answer, "~") }

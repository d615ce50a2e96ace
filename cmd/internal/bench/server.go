package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/culvertd/culvert/cmd/internal/bench/usage"
)

// server is a server that the bench has started.
type server struct {
	cmd     *exec.Cmd
	url     *url.URL
	profile string // URL of its profiles
	ready   time.Duration

	mu   sync.Mutex
	tail []string // guarded by mu: the last lines of what it wrote
	over chan struct{}
	err  error // of its end; set before over is closed
}

// How long a server may take to be ready, and to end.
const (
	readyTimeout = 15 * time.Second
	endTimeout   = 20 * time.Second
)

// startServer starts "culvert serve" of this program on a free port, or the
// program of --command.
func startServer(ctx context.Context, o *options) (*server, error) {
	name, args := "", []string(nil)
	if o.command != "" {
		words := strings.Fields(o.command)
		name, args = words[0], words[1:]
	} else {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		name, args = self, []string{"serve", "--listen", "127.0.0.1:0"}
		if o.profile != "" || o.heap != "" {
			args = append(args, "--pprof", "127.0.0.1:0")
		}
		args = append(args, strings.Fields(o.serveFlags)...)
		// Last, so that no flag and no variable keeps it from saying that it is
		// ready.
		args = append(args, "--log-format", "json", "--log-level", "info")
	}
	s := &server{cmd: exec.Command(name, args...), over: make(chan struct{})}
	ownGroup(s.cmd)
	out, err := s.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	said := make(chan listening, 4)
	began := time.Now()
	if err := usage.StartOn(o.serverCore, s.cmd); errors.Is(err, usage.ErrCore) {
		return nil, fmt.Errorf("--server-core: %w", err)
	} else if err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	go func() {
		s.listen(out, said)
		s.err = s.cmd.Wait()
		close(s.over)
	}()
	if o.command != "" {
		s.url = o.target
		err = s.awaitPort(ctx)
	} else {
		err = s.await(ctx, said, o.profile != "" || o.heap != "")
	}
	s.ready = time.Since(began)
	if err != nil {
		s.stop()
		return nil, fmt.Errorf("starting %s: %w%s", name, err, s.said())
	}
	return s, nil
}

// listening is the server's word that it is ready, or that it serves profiles.
type listening struct {
	Msg, URL, Address string
}

// listen reads what the server writes.
func (s *server) listen(out io.Reader, said chan<- listening) {
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		s.mu.Lock()
		if s.tail = append(s.tail, lines.Text()); len(s.tail) > 20 {
			s.tail = s.tail[1:]
		}
		s.mu.Unlock()
		var l listening
		if json.Unmarshal(lines.Bytes(), &l) == nil && l.URL != "" {
			select {
			case said <- l:
			default: // what it says later is of no interest
			}
		}
	}
	io.Copy(io.Discard, out) // a line too long is no reason to block it
}

func (s *server) said() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.tail) == 0 {
		return ""
	}
	return "; it said:\n" + strings.Join(s.tail, "\n")
}

var errNotReady = fmt.Errorf("it is not ready after %s", readyTimeout)

func (s *server) await(ctx context.Context, said <-chan listening, profiles bool) error {
	late := time.After(readyTimeout)
	for s.url == nil || profiles && s.profile == "" {
		select {
		case l := <-said:
			if l.Address == "" { // the profiles have no more than a URL
				s.profile = l.URL
				continue
			}
			scheme, _, _ := strings.Cut(l.URL, "://") // https where --serve-flags give it a certificate
			u, err := url.Parse(scheme + "://" + l.Address)
			if err != nil {
				return err
			}
			s.url = u
		case <-s.over:
			return fmt.Errorf("it ended: %w", s.end())
		case <-late:
			return errNotReady
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (s *server) awaitPort(ctx context.Context) error {
	late := time.After(readyTimeout)
	retry := time.NewTicker(2 * time.Millisecond)
	defer retry.Stop()
	for {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", s.url.Host)
		if err == nil {
			return c.Close()
		}
		select {
		case <-retry.C:
		case <-s.over:
			return fmt.Errorf("it ended: %w", s.end())
		case <-late:
			return fmt.Errorf("nothing listens at %s after %s", s.url.Host, readyTimeout)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *server) end() error {
	if s.err == nil {
		return errors.New("exit status 0")
	}
	return s.err
}

// stop ends the server: in good order first.
func (s *server) stop() {
	s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.over:
	case <-time.After(endTimeout):
		s.cmd.Process.Kill()
		<-s.over
	}
}

// fetchProfile writes a profile of the server into a file.
func (s *server) fetchProfile(ctx context.Context, what, file string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.profile+what, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("the server's profile: status %d", res.StatusCode)
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, res.Body)
	return errors.Join(err, f.Close())
}

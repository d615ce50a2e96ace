package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	osexec "os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// TestDescriptorsAreRaised: the built program takes as many descriptors as it
// may have, and says how many connections they are enough for.
func TestDescriptorsAreRaised(t *testing.T) {
	name, err := program()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ limits, args, want string }{
		// Go leaves one of those that it adds, for programs that it starts.
		{"ulimit -n 1000; ulimit -Sn 100", "", "msg=limits connections=935 descriptors=999"},
		{"ulimit -n 200", "", "msg=limits connections=136 descriptors=200"},
		{"ulimit -n 200", "--max-connections 100", "msg=limits connections=100 descriptors=200"},
		{"ulimit -n 200", "--max-connections 1000", `the system allows fewer connections than --max-connections" wanted=1000 allowed=136 descriptors=200`},
		{"export GOMEMLIMIT=300MiB", "--memory 100MiB", `"memory limit"=300MiB`},
		{"export GOMEMLIMIT=300MiB", "", `level=WARN msg="--memory is more than a half`},
	} {
		t.Run(tt.limits+" "+tt.args, func(t *testing.T) {
			cmd := osexec.Command("sh", "-c", tt.limits+"; exec \"$0\" serve --listen localhost:0 "+tt.args, name)
			out := newLines()
			cmd.Stderr = out
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() {
				cmd.Process.Kill()
				cmd.Wait()
			}()
			out.wait(t, regexp.QuoteMeta(tt.want))
		})
	}
}

// TestServeTunesConnections: connections of every transport have their bounds
// in the kernel, over TLS as well.
func TestServeTunesConnections(t *testing.T) {
	const userTimeout, notSentLowat = 18, 25 // of TCP, as tcp(7) numbers them
	certFile, keyFile, roots := certificate(t)
	for _, secure := range []bool{false, true} {
		args := []string{"--write-timeout", "17s", "--send-buffer", "24KiB"}
		dialer := websocket.Dialer{TLSClientConfig: &tls.Config{RootCAs: roots}}
		if secure {
			args = append(args, "--tls-cert", certFile, "--tls-key", keyFile)
		}
		s := startServe(t, args...)
		socket, _, err := dialer.DialContext(deadline(t), "ws"+strings.TrimPrefix(s.url, "http")+"/rooms/lobby", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer socket.Close()
		local := map[string]string{"ws": socket.NetConn().LocalAddr().String()}
		if c, ok := socket.NetConn().(*tls.Conn); ok {
			local["ws"] = c.NetConn().LocalAddr().String()
		}
		for name, path := range map[string]string{"sse": "/rooms/lobby/sse", "ndjson": "/rooms/lobby/stream", "poll": "/rooms/lobby?wait=55"} {
			local[name] = openRaw(t, s.url, path, secure, &tls.Config{RootCAs: roots, ServerName: "localhost"})
		}
		if secure {
			var d net.Dialer
			transport := &http.Transport{
				ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: roots},
				DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
					c, err := d.DialContext(ctx, network, address)
					if err == nil {
						local["h2"] = c.LocalAddr().String()
					}
					return c, err
				},
			}
			defer transport.CloseIdleConnections()
			resp, err := (&http.Client{Transport: transport}).Get(s.url + "/rooms/lobby/sse")
			if err != nil || resp.ProtoMajor != 2 {
				t.Fatal(resp, err)
			}
			defer resp.Body.Close()
		}
		waitFor(t, func() error {
			found := map[string]bool{}
			for fd, peer := range sockets(t) {
				for name, address := range local {
					if peer != address {
						continue
					}
					timeout, err := syscall.GetsockoptInt(fd, syscall.IPPROTO_TCP, userTimeout)
					lowat, err2 := syscall.GetsockoptInt(fd, syscall.IPPROTO_TCP, notSentLowat)
					if err != nil || err2 != nil || timeout != 34_000 || lowat != 24<<10 {
						return fmt.Errorf("secure %v, %s: TCP_USER_TIMEOUT %d ms, TCP_NOTSENT_LOWAT %d; %v, %v", secure, name, timeout, lowat, err, err2)
					}
					found[name] = true
				}
			}
			if len(found) != len(local) {
				return fmt.Errorf("secure %v: found %v of %v", secure, found, local)
			}
			return nil
		})
	}
}

// waitFor tries until there is no error.
func waitFor(t *testing.T, try func() error) {
	t.Helper()
	for begin := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		err := try()
		if err == nil {
			return
		}
		if time.Since(begin) > patience {
			t.Fatal(err)
		}
	}
}

// openRaw sends a GET and returns the address that it came from; the first byte
// of a stream has arrived.
func openRaw(t *testing.T, url, path string, secure bool, config *tls.Config) string {
	t.Helper()
	_, address, _ := strings.Cut(url, "://")
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	w := io.ReadWriter(c)
	if secure {
		w = tls.Client(c, config)
	}
	if _, err := io.WriteString(w, "GET "+path+" HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(path, "wait") {
		if _, err := bufio.NewReader(w).ReadByte(); err != nil {
			t.Fatal(err)
		}
	}
	return c.LocalAddr().String()
}

// sockets are this process's connections over TCP by descriptor, with the peer's
// address. The server under test runs in this process.
func sockets(t *testing.T) map[int]string {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[int]string)
	for _, entry := range entries {
		fd, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		switch peer, err := syscall.Getpeername(fd); a := peer.(type) {
		case *syscall.SockaddrInet4:
			if err == nil {
				found[fd] = net.JoinHostPort(net.IP(a.Addr[:]).String(), strconv.Itoa(a.Port))
			}
		case *syscall.SockaddrInet6:
			if err == nil {
				found[fd] = net.JoinHostPort(net.IP(a.Addr[:]).String(), strconv.Itoa(a.Port))
			}
		}
	}
	return found
}

package server

import (
	"errors"
	"net"
	"strings"
	"syscall"
	"testing"
)

func TestListen(t *testing.T) {
	for _, address := range []string{"localhost:0", "127.0.0.1:0", "127.1.2.3:0"} {
		listeners, err := Listen(t.Context(), address, false)
		if err != nil {
			t.Fatalf("%s: %v", address, err)
		}
		for _, l := range listeners {
			a := l.Addr().(*net.TCPAddr)
			if !a.IP.IsLoopback() || a.Port != listeners[0].Addr().(*net.TCPAddr).Port {
				t.Errorf("%s: listens on %s", address, a)
			}
			c, err := net.Dial("tcp", a.String())
			if err != nil {
				t.Errorf("%s: %v", address, err)
				continue
			}
			c.Close()
			l.Close()
		}
	}
}

func TestLocalhostIsBothFamilies(t *testing.T) {
	if l, err := net.Listen("tcp6", "[::1]:0"); err != nil {
		t.Skip("this machine has no IPv6 loopback address")
	} else {
		l.Close()
	}
	listeners, err := Listen(t.Context(), "localhost:0", false)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range listeners {
		defer l.Close()
	}
	if len(listeners) != 2 {
		t.Errorf("%d listeners, want 127.0.0.1 and ::1", len(listeners))
	}
}

func TestListenRefusesWhatOthersReach(t *testing.T) {
	for _, address := range []string{":0", "0.0.0.0:0", "[::]:0", "192.0.2.1:0", "[2001:db8::1]:0", "[::ffff:192.0.2.1]:0"} {
		if _, err := Listen(t.Context(), address, false); !errors.Is(err, ErrInsecure) {
			t.Errorf("%s: %v, want ErrInsecure", address, err)
		}
	}
	for _, address := range []string{":0", "0.0.0.0:0"} {
		listeners, err := Listen(t.Context(), address, true)
		if err != nil {
			t.Errorf("%s with insecure: %v", address, err)
			continue
		}
		listeners[0].Close()
	}
}

func TestListenErrors(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, port, _ := net.SplitHostPort(taken.Addr().String())
	for _, tt := range []struct{ address, want string }{
		{"8080", `"8080" is no address: it must be host:port`},
		{"localhost", `"localhost" is no address`},
		{"localhost:http", `"http" is no port`},
		{"localhost:65536", `"65536" is no port`},
		{"localhost:-1", `"-1" is no port`},
		{"no-such-host.invalid:80", "the address of no-such-host.invalid cannot be found"},
		{"localhost:" + port, "127.0.0.1:" + port + " is in use by another program"},
	} {
		_, err := Listen(t.Context(), tt.address, false)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v\nwant %s", tt.address, err, tt.want)
		}
	}
	if _, err := Listen(t.Context(), "localhost:"+port, false); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("port in use: %v", err)
	}
}

func TestLocalhostTakenOnOneFamily(t *testing.T) {
	taken, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		t.Skip("this machine has no IPv6 loopback address")
	}
	defer taken.Close()
	_, port, _ := net.SplitHostPort(taken.Addr().String())
	if _, err := Listen(t.Context(), "localhost:"+port, false); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("%v: half of localhost belongs to another program, want an error", err)
	}
	l, err := net.Listen("tcp4", "127.0.0.1:"+port)
	if err != nil {
		t.Fatalf("the other half was not freed: %v", err)
	}
	l.Close()
}

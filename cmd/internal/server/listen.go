// Package server is the life of an HTTP server: where it may listen, how long a
// client may take, how many there may be, and how it ends.
package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"syscall"
)

// ErrInsecure is why Listen refuses an address.
var ErrInsecure = errors.New("it can be reached from other machines")

// AddressError is text in place of an address: no machine could listen on it.
type AddressError struct{ text string }

func (e *AddressError) Error() string { return e.text }

// Listen opens the listeners of an address "host:port". "localhost" is both
// loopback addresses, 127.0.0.1 and (where the machine has it) ::1, on the same
// port, since clients try either. Port 0 takes a free one.
//
// Unless insecure is set, an address that is not a loopback address is refused
// with ErrInsecure before anything is opened.
func Listen(ctx context.Context, address string, insecure bool) ([]net.Listener, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, &AddressError{fmt.Sprintf("%q is no address: it must be host:port, such as localhost:8080", address)}
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, &AddressError{fmt.Sprintf("%q is no port: it must be a number from 0 to 65535", port)}
	}
	if host == "localhost" {
		return listenLoopback(ctx, uint16(number))
	}
	ips, err := resolve(ctx, host)
	if err != nil {
		return nil, err
	}
	for _, ip := range ips {
		if !ip.IsLoopback() && !insecure {
			return nil, fmt.Errorf("listening on %s: %w", address, ErrInsecure)
		}
	}
	// Of a name with several addresses the first is taken, as net.Listen does;
	// an empty host is every address of the machine.
	listen := net.JoinHostPort(ips[0].String(), port)
	if host == "" {
		listen = ":" + port
	}
	l, err := open(ctx, "tcp", listen)
	if err != nil {
		return nil, err
	}
	return []net.Listener{l}, nil
}

func resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	if host == "" {
		return []netip.Addr{netip.IPv6Unspecified()}, nil
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{ip}, nil
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, fmt.Errorf("the address of %s cannot be found: %w", host, err)
	}
	for i := range ips {
		ips[i] = ips[i].Unmap()
	}
	return ips, nil
}

// loopbackTries is how often another free port is taken where the one that was
// free on 127.0.0.1 is not on ::1.
const loopbackTries = 10

func listenLoopback(ctx context.Context, port uint16) ([]net.Listener, error) {
	for try := 1; ; try++ {
		four, err := open(ctx, "tcp4", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			return nil, err
		}
		taken := four.Addr().(*net.TCPAddr).Port
		six, err := open(ctx, "tcp6", fmt.Sprintf("[::1]:%d", taken))
		switch {
		case err == nil:
			return []net.Listener{four, six}, nil
		case !errors.Is(err, syscall.EADDRINUSE):
			return []net.Listener{four}, nil // no IPv6 on this machine
		}
		four.Close()
		if port != 0 || try == loopbackTries {
			return nil, err
		}
	}
}

func open(ctx context.Context, network, address string) (net.Listener, error) {
	l, err := new(net.ListenConfig).Listen(ctx, network, address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("%s is in use by another program: %w", address, err)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("%s needs more rights than this program has: %w", address, err)
	case err != nil:
		return nil, fmt.Errorf("cannot listen on %s: %w", address, err)
	}
	return l, nil
}

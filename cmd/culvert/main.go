// Culvert is a realtime message server: rooms over WebSocket, Server-Sent
// Events, long-poll and NDJSON, published once and resumed on any of them. It
// is also a small client of such a server, for shells and scripts.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go onSignal(cancel)
	tuneRuntime()
	os.Exit(run(ctx, os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr))
}

// onSignal turns the first signal into the end of the program's context and the
// second into the end of the program: what the first one waits for may take
// longer than the operator does.
func onSignal(cancel context.CancelFunc) {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	<-signals
	cancel()
	second := <-signals
	os.Exit(128 + int(second.(syscall.Signal)))
}

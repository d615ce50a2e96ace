package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/culvertd/culvert/cmd/internal/client"
	"github.com/culvertd/culvert/cmd/internal/settings"
	"github.com/culvertd/culvert/hub"
)

// maxStdin bounds what pub reads; a server's own limit is far lower.
const maxStdin = int64(16 << 20)

func pubCommand() command {
	return command{
		name:      "pub",
		arguments: "ROOM [DATA|-] [flags]",
		summary:   "publish a message and print the answer",
		about: `
DATA is JSON, or else text. Without it, or with -, the message is all of the standard
input. While there is no answer the request is repeated with the same key, so that the
message is published once.`,
		examples: `
  culvert pub lobby '{"text":"hello"}'
  date | culvert pub lobby
  culvert pub lobby hello --key order-17 --url https://culvert.example.org
  culvert pub lobby -- -5      # behind -- nothing is a flag`,
		declare: func(s *settings.Set) func(context.Context, []string, stdio) error {
			p := new(pub)
			s.Group("Flags")
			declareURL(s, &p.url)
			s.String(&p.key, "key", "KEY", "", "idempotency key: the same message with the same key is published once; made up where none is given", checkKey)
			s.Bool(&p.ephemeral, "ephemeral", "deliver to who is connected and keep nothing")
			s.Duration(&p.timeout, "timeout", 10*time.Second, 100*time.Millisecond, time.Hour, "how long to go on trying")
			return p.run
		},
	}
}

func declareURL(s *settings.Set, p *string) {
	s.String(p, "url", "URL", "http://localhost:8080", "the server", func(text string) error {
		_, err := client.ParseURL(text)
		return err
	})
}

func checkKey(key string) error {
	ok := len(key) >= 1 && len(key) <= 200
	for i := range len(key) {
		ok = ok && key[i] >= ' ' && key[i] <= '~'
	}
	if !ok {
		return errors.New("a key is 1-200 bytes of printable ASCII")
	}
	return nil
}

type pub struct {
	url, key  string
	ephemeral bool
	timeout   time.Duration
}

func (p *pub) run(ctx context.Context, args []string, std stdio) error {
	if len(args) < 1 || len(args) > 2 {
		return settings.Errorf("it takes a room and one message, not %d arguments (quote a message with spaces)", len(args))
	}
	if err := hub.ValidateRoom(args[0]); err != nil {
		return settings.Errorf("%q: %s", args[0], err)
	}
	var data []byte
	if len(args) == 2 && args[1] != "-" {
		data = []byte(args[1])
	} else {
		var err error
		if data, err = readMessage(ctx, std.in); err != nil {
			return fmt.Errorf("reading the message: %w", err)
		}
	}
	if p.key == "" {
		p.key = "pub-" + rand.Text()
	}
	base, err := client.ParseURL(p.url)
	if err != nil {
		return err
	}
	c := client.New(base)
	defer c.Close()
	c.Report = func(err error, wait time.Duration) {
		fmt.Fprintf(std.err, "culvert pub: %s: %s; trying again in %s\n", c, err, wait.Round(10*time.Millisecond))
	}
	limited, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	answer, err := c.Publish(limited, client.Publish{Room: args[0], Data: data, Key: p.key, Ephemeral: p.ephemeral})
	if err != nil {
		return fmt.Errorf("%s: %w", c, err)
	}
	_, err = fmt.Fprintf(std.out, "%s\n", answer)
	return err
}

var errInterrupted = errors.New("interrupted before its end")

// readMessage reads all of the input, which may come from a person, or never
// end: an interrupt is not to wait for that.
func readMessage(ctx context.Context, in io.Reader) ([]byte, error) {
	type read struct {
		data []byte
		err  error
	}
	done := make(chan read, 1)
	go func() {
		data, err := io.ReadAll(io.LimitReader(in, maxStdin+1))
		done <- read{data, err}
	}()
	select {
	case r := <-done:
		if r.err == nil && int64(len(r.data)) > maxStdin {
			r.err = fmt.Errorf("it is longer than %s", settings.FormatSize(maxStdin))
		}
		return r.data, r.err
	case <-ctx.Done():
		return nil, errInterrupted
	}
}

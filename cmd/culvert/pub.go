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
  culvert pub lobby hello --key order-17 --url https://culvert.example.org`,
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
		if data, err = io.ReadAll(io.LimitReader(std.in, maxStdin+1)); err != nil {
			return fmt.Errorf("reading the message: %w", err)
		}
		if int64(len(data)) > maxStdin {
			return fmt.Errorf("the message is longer than %s", settings.FormatSize(maxStdin))
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
		fmt.Fprintf(std.err, "culvert pub: %s; trying again in %s\n", err, wait.Round(10*time.Millisecond))
	}
	limited, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	answer, err := c.Publish(limited, client.Publish{Room: args[0], Data: data, Key: p.key, Ephemeral: p.ephemeral})
	if err != nil {
		return fmt.Errorf("%s: %w", base, err)
	}
	_, err = fmt.Fprintf(std.out, "%s\n", answer)
	return err
}

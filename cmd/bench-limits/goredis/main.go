// Goredis publishes as a program does that calls the publish script with
// go-redis in its default form: one EVALSHA for each message, from many
// goroutines. It is what store/redis is compared with, and a module of its own,
// so that the product does not depend on it.
//
//	goredis -addr HOST:PORT -goroutines N -publishes N < WORK
//
// WORK is {"script": TEXT, "rooms": [{"keys": [...], "args": [...]}, ...]}, the
// calls of the script, one for each room in turn. In keys and args "~n~" becomes
// the number of the publish and "~g~" that of the goroutine; every goroutine's
// publishes have rising numbers. The answer is {"publishes": N, "seconds": S}.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// work is what is to be done.
type work struct {
	Script string `json:"script"`
	Rooms  []call `json:"rooms"`
}

// call is one call of the script.
type call struct {
	Keys []string `json:"keys"`
	Args []string `json:"args"`
}

// outcome is what it took.
type outcome struct {
	Publishes int64   `json:"publishes"`
	Seconds   float64 `json:"seconds"`
}

func main() {
	if err := run(context.Background(), os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "goredis:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	flags := flag.NewFlagSet("goredis", flag.ContinueOnError)
	addr := flags.String("addr", "localhost:6379", "address of the Redis server")
	goroutines := flags.Int("goroutines", 64, "how many publish at a time")
	publishes := flags.Int64("publishes", 100_000, "how many messages they publish together")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 || *goroutines < 1 || *publishes < 1 {
		return errors.New("it takes flags only, at least one goroutine, and at least one publish")
	}
	var w work
	if err := json.NewDecoder(in).Decode(&w); err != nil {
		return fmt.Errorf("the work: %w", err)
	}
	if w.Script == "" || len(w.Rooms) == 0 {
		return errors.New("the work: no script or no rooms")
	}
	client := redis.NewClient(&redis.Options{Addr: *addr})
	defer client.Close()
	if err := client.Ping(ctx).Err(); err != nil {
		return err
	}
	began := time.Now()
	if err := w.publish(ctx, client, *goroutines, *publishes); err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(outcome{Publishes: *publishes, Seconds: time.Since(began).Seconds()})
}

// publish makes so many calls from so many goroutines. The first error ends it.
func (w *work) publish(ctx context.Context, client redis.Scripter, goroutines int, publishes int64) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	script := redis.NewScript(w.Script)
	var next atomic.Int64
	var all sync.WaitGroup
	for g := range goroutines {
		all.Go(func() {
			for ctx.Err() == nil {
				n := next.Add(1)
				if n > publishes {
					return
				}
				keys, args := w.Rooms[n%int64(len(w.Rooms))].fill(n, g)
				answer, err := script.Run(ctx, client, keys, args...).Text()
				if err == nil {
					err = check(answer)
				}
				if err != nil {
					cancel(fmt.Errorf("publish %d: %w", n, err))
				}
			}
		})
	}
	all.Wait()
	return context.Cause(ctx)
}

// fill makes the keys and arguments of one call.
func (c *call) fill(n int64, g int) ([]string, []any) {
	number, goroutine := strconv.FormatInt(n, 10), strconv.Itoa(g)
	put := func(text string) string {
		if len(text) > longest || strings.IndexByte(text, '~') < 0 {
			return text
		}
		return strings.Replace(strings.Replace(text, "~n~", number, 1), "~g~", goroutine, 1)
	}
	keys, args := make([]string, len(c.Keys)), make([]any, len(c.Args))
	for i, k := range c.Keys {
		keys[i] = put(k)
	}
	for i, a := range c.Args {
		args[i] = put(a)
	}
	return keys, args
}

// longest is the longest text that numbers are put into: messages are longer,
// and are not to be searched for each publish.
const longest = 100

// check tells whether the script has published the message: "ok", and a line
// with "+" for it.
func check(answer string) error {
	first, rest, _ := strings.Cut(answer, "\n")
	if !strings.HasPrefix(first, "ok ") || !strings.HasPrefix(rest, "+ ") {
		return fmt.Errorf("the script answers %.200q", answer)
	}
	return nil
}

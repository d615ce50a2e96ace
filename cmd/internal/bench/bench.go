package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/culvertd/culvert/cmd/internal/bench/report"
	"github.com/culvertd/culvert/cmd/internal/bench/usage"
	"github.com/culvertd/culvert/cmd/internal/settings"
)

// ErrFaults is the outcome of a run in which something happened that must not.
var ErrFaults = errors.New("not everything arrived once and in order")

var errInterrupted = errors.New("interrupted before its end")

// Declare declares the command's settings and returns what runs it. version is
// the program's.
func Declare(s *settings.Set, version string) func(ctx context.Context, args []string, out, errOut io.Writer) error {
	o := new(options)
	o.declare(s)
	return func(ctx context.Context, args []string, out, errOut io.Writer) error {
		if len(args) > 0 {
			return settings.Errorf("it takes flags only, not %q", args)
		}
		if err := o.complete(); err != nil {
			return err
		}
		result, err := o.run(ctx, errOut)
		if result != nil {
			result.Version = version
			err = errors.Join(err, o.write(result, out))
		}
		if err == nil && result.Checks.Faults() > 0 {
			err = ErrFaults
		}
		return err
	}
}

// run makes one run. The result is there, as far as it goes, when the run broke
// off behind the connecting.
func (o *options) run(ctx context.Context, errOut io.Writer) (*report.Result, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	c := &course{pid: o.pid, result: &report.Result{
		Time: time.Now().UTC().Truncate(time.Second), Setting: o.setting(),
		Load: report.Load{
			Subscribers: o.subscribers, Transport: o.transport, Rooms: o.rooms, Size: o.size,
			Rate: o.rate, Outstanding: o.outstanding, Batch: o.batch, Keys: o.keys,
		},
	}}
	if o.pid != 0 {
		if _, err := usage.Of(o.pid); err != nil {
			return nil, fmt.Errorf("--pid %d: %w", o.pid, err)
		}
	}
	if o.url == "" || o.command != "" {
		server, err := startServer(ctx, o)
		if err != nil {
			return nil, err
		}
		c.server, c.pid, o.target = server, server.cmd.Process.Pid, server.url
		c.result.ReadyMS = float64(server.ready.Microseconds()) / 1000
		go c.serverEnded(cancel)
	}
	if o.clientCore >= 0 {
		if err := usage.Pin(o.clientCore); err != nil {
			c.stopServer()
			return nil, fmt.Errorf("--client-core: %w", err)
		}
	}
	r, err := newRun(ctx, o)
	if err != nil {
		c.stopServer()
		return nil, err
	}
	c.run = r
	defer c.finish()
	if o.quiet {
		errOut = nil
	}
	r.watch = newWatch(r, c.pid, errOut)
	err = c.follow()
	r.watch.end()
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
	}
	if errors.Is(err, context.Canceled) {
		err = errInterrupted
	}
	if err != nil {
		c.result.Broken, _, _ = strings.Cut(err.Error(), "\n") // without what a server of its own said
	}
	if err != nil && c.result.Connect.Seconds == 0 {
		return nil, err
	}
	return c.report(), err
}

func (c *course) stopServer() {
	if c.server != nil {
		c.server.stop()
	}
}

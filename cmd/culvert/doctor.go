package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/culvertd/culvert/cmd/internal/client"
	"github.com/culvertd/culvert/cmd/internal/doctor"
	"github.com/culvertd/culvert/cmd/internal/settings"
)

func doctorCommand() command {
	return command{
		name:      "doctor",
		arguments: "URL [flags]",
		summary:   "find out what the network does between here and a server",
		about: `
It tests requests, WebSocket and streams one after another, says in plain words what this
network does to them, and what Culvert does about it. That takes about a minute. The page
/doctor of a server makes the same tests from a browser.

It succeeds (exit status 0) where Culvert works, over whichever transport, and fails (1)
where it does not.`,
		examples: `
  culvert doctor https://culvert.example.org
  culvert doctor https://culvert.example.org --proxy http://proxy.example.org:3128
  culvert doctor http://culvert.example.org --proxy socks5://proxy.example.org
  culvert doctor localhost:8080 --json | jq .findings`,
		declare: func(s *settings.Set) func(context.Context, []string, stdio) error {
			d := new(doctorFlags)
			s.Group("Flags")
			s.String(&d.o.Proxy, "proxy", "URL", "", "proxy to go through, such as http://name:password@host:port, https://host or socks5://host (default: as HTTP_PROXY and its like say)", checkProxy).Secret()
			s.Bool(&d.json, "json", "print the report as JSON, and nothing else")
			s.Duration(&d.o.Idle, "idle", 20*time.Second, time.Second, 10*time.Minute, "how long connections are left alone")
			s.Seconds(&d.o.Wait, "wait", 55*time.Second, time.Second, 55*time.Second, "how long a poll waits, and a stream is watched")
			s.Duration(&d.o.Patience, "patience", 5*time.Second, 100*time.Millisecond, time.Minute, "how long an answer may take that should come at once")
			return d.run
		},
	}
}

type doctorFlags struct {
	o    doctor.Options
	json bool
}

func checkProxy(text string) error {
	if text != "" && (doctor.Options{URL: "http://localhost", Proxy: text}).Validate() != nil {
		return errors.New("it must be http://host:port, https://host:port or socks5://host:port, with name:password@ before the host where the proxy wants them")
	}
	return nil
}

var errNoWay = errors.New("there is no way through for Culvert")

func (d *doctorFlags) run(ctx context.Context, args []string, std stdio) error {
	if len(args) != 1 {
		return settings.Errorf("it takes the address of a server, such as http://localhost:8080")
	}
	base, err := client.ParseURL(args[0])
	if err != nil {
		return settings.Errorf("%q: %s", args[0], err)
	}
	d.o.URL = base
	d.o.Progress = func(doctor.Step) {}
	if !d.json {
		head := doctor.Report{URL: base, Time: time.Now().UTC()}
		fmt.Fprint(std.out, head.Head())
		d.o.Progress = func(s doctor.Step) { progress(std.out, s) }
	}
	report, err := doctor.Run(ctx, d.o)
	if err != nil {
		return err
	}
	if d.json {
		e := json.NewEncoder(std.out)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		err = e.Encode(report)
	} else {
		_, err = fmt.Fprint(std.out, report.Conclusion())
	}
	if err == nil && !report.Works {
		err = errNoWay
	}
	return err
}

// progress prints a test when it has ended, and one that takes long also when
// it begins.
func progress(w io.Writer, s doctor.Step) {
	switch {
	case s.State != "":
		fmt.Fprint(w, s.Line())
	case strings.HasPrefix(s.ID, "waiting"):
		fmt.Fprintf(w, "  ...     %s\n", s.Title)
	}
}

package settings

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

type values struct {
	name   string
	origin []string
	format string
	on     bool
	count  int
	size   int64
	wait   time.Duration
	beat   time.Duration
	token  string
}

func declare() (*Set, *values) {
	v := new(values)
	s := New("prog cmd")
	s.Group("Some")
	s.String(&v.name, "name", "NAME", "nobody", "a name", nil)
	s.Strings(&v.origin, "allow-origin", "ORIGIN", "an origin", nil)
	s.Choice(&v.format, "format", "text", []string{"text", "json"}, "a format")
	s.Group("Others")
	s.Bool(&v.on, "on", "a switch")
	s.Int(&v.count, "count", 7, 1, 100, "a number")
	s.Size(&v.size, "size", 65536, 1, 1<<20, "a size")
	s.Duration(&v.wait, "wait", time.Hour, time.Second, 24*time.Hour, "a time")
	s.Seconds(&v.beat, "beat", 15*time.Second, time.Second, time.Minute, "a time on the wire")
	s.String(&v.token, "token", "TOKEN", "", "a secret", func(string) error { return errors.New("it is never right") }).Secret()
	return s, v
}

func TestParse(t *testing.T) {
	defaults := values{name: "nobody", format: "text", count: 7, size: 65536, wait: time.Hour, beat: 15 * time.Second}
	with := func(change func(*values)) values {
		v := defaults
		change(&v)
		return v
	}
	for _, tt := range []struct {
		title string
		args  []string
		env   []string
		want  values
		rest  []string
	}{
		{title: "defaults", want: defaults},
		{title: "flag", args: []string{"--count", "9"}, want: with(func(v *values) { v.count = 9 })},
		{title: "flag with equals sign and one dash", args: []string{"-count=9"}, want: with(func(v *values) { v.count = 9 })},
		{title: "environment", env: []string{"CULVERT_COUNT=9"}, want: with(func(v *values) { v.count = 9 })},
		{title: "flag beats environment", args: []string{"--count=9"}, env: []string{"CULVERT_COUNT=8"}, want: with(func(v *values) { v.count = 9 })},
		{title: "flag beats bad environment", args: []string{"--count=9"}, env: []string{"CULVERT_COUNT=x"}, want: with(func(v *values) { v.count = 9 })},
		{title: "empty environment is none", env: []string{"CULVERT_COUNT="}, want: defaults},
		{title: "the last one counts", args: []string{"--count=8", "--count=9"}, env: []string{"CULVERT_NAME=a", "CULVERT_NAME=b"},
			want: with(func(v *values) { v.count, v.name = 9, "b" })},
		{title: "list", args: []string{"--allow-origin", "a", "--allow-origin", "b"}, env: []string{"CULVERT_ALLOW_ORIGIN=c"},
			want: with(func(v *values) { v.origin = []string{"a", "b"} })},
		{title: "list in the environment", env: []string{"CULVERT_ALLOW_ORIGIN=a, b c"}, want: with(func(v *values) { v.origin = []string{"a", "b", "c"} })},
		{title: "switch", args: []string{"--on"}, want: with(func(v *values) { v.on = true })},
		{title: "switch off against the environment", args: []string{"--on=false"}, env: []string{"CULVERT_ON=1"}, want: defaults},
		{title: "sizes", args: []string{"--size=64KB"}, want: with(func(v *values) { v.size = 64000 })},
		{title: "times", args: []string{"--wait=1m30s"}, want: with(func(v *values) { v.wait = 90 * time.Second })},
		{title: "whole seconds", args: []string{"--beat=2000ms"}, want: with(func(v *values) { v.beat = 2 * time.Second })},
		{title: "flags around arguments", args: []string{"a", "--on", "b", "--count", "9", "c"},
			want: with(func(v *values) { v.on, v.count = true, 9 }), rest: []string{"a", "b", "c"}},
		{title: "nothing is a flag behind --", args: []string{"a", "--", "--on", "b"}, want: defaults, rest: []string{"a", "--on", "b"}},
		{title: "a dash is an argument", args: []string{"a", "-", "--on"}, want: with(func(v *values) { v.on = true }), rest: []string{"a", "-"}},
	} {
		t.Run(tt.title, func(t *testing.T) {
			s, got := declare()
			rest, err := s.Parse(tt.args, tt.env)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(*got, tt.want) {
				t.Errorf("got  %+v\nwant %+v", *got, tt.want)
			}
			if !reflect.DeepEqual(rest, tt.rest) {
				t.Errorf("arguments %q, want %q", rest, tt.rest)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for _, tt := range []struct {
		args []string
		env  []string
		want string
	}{
		{args: []string{"--count", "x"}, want: `--count: "x" is not allowed: it must be a number from 1 to 100`},
		{args: []string{"--count", "0"}, want: `--count: "0" is not allowed: it must be a number from 1 to 100`},
		{env: []string{"CULVERT_COUNT=101"}, want: `CULVERT_COUNT: "101" is not allowed: it must be a number from 1 to 100`},
		{args: []string{"--size", "2MiB"}, want: `--size: "2MiB" is not allowed: it must be a size from 1 to 1MiB, such as 65536, 64KiB or 1MB`},
		{args: []string{"--size", "99999999999GiB"}, want: `--size: "99999999999GiB" is not allowed`},
		{args: []string{"--size", "-1"}, want: `--size: "-1" is not allowed`},
		{args: []string{"--wait", "10"}, want: `--wait: "10" is not allowed: it must be a time from 1s to 24h`},
		{args: []string{"--beat", "1500ms"}, want: `--beat: "1500ms" is not allowed: it must be a time in whole seconds from 1s to 1m, such as 15s`},
		{args: []string{"--beat", "2m"}, want: `--beat: "2m" is not allowed: it must be a time in whole seconds from 1s to 1m, such as 15s`},
		{args: []string{"--format", "xml"}, want: `--format: "xml" is not allowed: it must be text or json`},
		{args: []string{"--on=maybe"}, want: `--on: "maybe" is not allowed: it must be true or false`},
		{args: []string{"--token", "hunter2"}, want: `--token: the value is not allowed: it is never right`},
		{args: []string{"--conut", "1"}, want: `unknown flag --conut; did you mean --count?`},
		{args: []string{"--origin", "1"}, want: `unknown flag --origin; did you mean --allow-origin?`},
		{args: []string{"--zzzzzz"}, want: "unknown flag --zzzzzz\n'prog cmd --help' lists the flags"},
		{args: []string{"--count"}, want: `--count needs a value`},
	} {
		s, _ := declare()
		_, err := s.Parse(tt.args, tt.env)
		var mistake *Error
		if !errors.As(err, &mistake) || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("Parse(%q, %q): %v\nwant %s", tt.args, tt.env, err, tt.want)
		}
	}
}

// A value is given by a flag or a variable, be it the default's; an empty
// variable gives none.
func TestGiven(t *testing.T) {
	for _, tt := range []struct {
		args, env []string
		want      bool
	}{
		{nil, nil, false}, {[]string{"--n", "3"}, nil, true}, {nil, []string{"CULVERT_N=5"}, true}, {nil, []string{"CULVERT_N=", "N=1"}, false},
	} {
		n := 0
		s := New("prog cmd")
		x := s.Int(&n, "n", 3, 1, 9, "a number")
		if _, err := s.Parse(tt.args, tt.env); err != nil || x.Given() != tt.want {
			t.Errorf("%q, %q: given %v, %v", tt.args, tt.env, x.Given(), err)
		}
	}
}

func TestHelp(t *testing.T) {
	for _, arg := range []string{"-h", "--help", "-help"} {
		s, _ := declare()
		if _, err := s.Parse([]string{"x", arg}, nil); !errors.Is(err, ErrHelp) {
			t.Errorf("%s: %v", arg, err)
		}
	}
	s, _ := declare()
	var b strings.Builder
	s.WriteFlags(&b)
	for _, want := range []string{
		"\nSome:\n  --name NAME               a name (default nobody)\n                            $CULVERT_NAME\n",
		"an origin; may be repeated",
		"\nOthers:\n  --on",
		"a size (default 64KiB)",
		"a time (default 1h)",
		"a time on the wire, in whole seconds (default 15s)",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("help lacks %q:\n%s", want, b.String())
		}
	}
}

func TestSizesReadAsWritten(t *testing.T) {
	for _, n := range []int64{0, 1, 1000, 1023, 1024, 65536, 1e6, 1 << 20, 3 << 30, 123456789} {
		if got, ok := parseSize(FormatSize(n)); !ok || got != n {
			t.Errorf("%d is written %s and read %d, %v", n, FormatSize(n), got, ok)
		}
	}
}

package main

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
)

func TestFill(t *testing.T) {
	c := call{Keys: []string{"fence:~g~", "head", "key:~n~"}, Args: []string{"~n~", "data"}}
	keys, args := c.fill(17, 3)
	if want := []string{"fence:3", "head", "key:17"}; !reflect.DeepEqual(keys, want) {
		t.Errorf("keys %q, want %q", keys, want)
	}
	if want := []any{"17", "data"}; !reflect.DeepEqual(args, want) {
		t.Errorf("arguments %q, want %q", args, want)
	}
}

func TestCheck(t *testing.T) {
	if err := check("ok 1\n+ epoch 1 1"); err != nil {
		t.Error(err)
	}
	for _, answer := range []string{"", "ok 1", "ok 1\n!", "ok 1\n= epoch 1 1 id", "stale 1", "fenced 1", "ok 1\n- OOM"} {
		if check(answer) == nil {
			t.Errorf("%q passes for a publish", answer)
		}
	}
}

func TestBadInput(t *testing.T) {
	const work = `{"script":"return 1","rooms":[{}]}`
	for _, c := range []struct{ args, in string }{
		{"-goroutines 0", work}, {"-publishes 0", work}, {"surplus", work}, {"-nonsense", work},
		{"", ""}, {"", "{}"}, {"", `{"script":"return 1","rooms":[]}`}, {"", "no JSON"},
		{"-addr 127.0.0.1:1", work}, // nobody listens
	} {
		var out bytes.Buffer
		if err := run(t.Context(), strings.Fields(c.args), strings.NewReader(c.in), &out); err == nil || out.Len() > 0 {
			t.Errorf("%+v is accepted: %s", c, out.Bytes())
		}
	}
}

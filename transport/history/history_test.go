package history_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/transport/codes"
	"github.com/culvertd/culvert/transport/history"
)

var at7 = hub.Position{Epoch: "e", Offset: 7, ID: "g"}

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		q    history.Query
		want hub.ReadRequest
		code codes.Code
	}{
		{q: history.Query{Room: "r"}, want: hub.ReadRequest{Mode: hub.ReadLatest, Limit: 100}},
		{q: history.Query{Room: "r", After: "e.7.g", Limit: 5}, want: hub.ReadRequest{Mode: hub.ReadAfter, From: at7, Limit: 5}},
		{q: history.Query{Room: "r", After: "x=0,r=e.7.g.mark"}, want: hub.ReadRequest{Mode: hub.ReadAfter, From: at7, Limit: 100}},
		{q: history.Query{Room: "r", After: "0"}, want: hub.ReadRequest{Mode: hub.ReadAfter, Limit: 100}},
		{q: history.Query{Room: "r", Before: "r=e.7.g", Limit: 1000}, want: hub.ReadRequest{Mode: hub.ReadBefore, From: at7, Limit: 1000}},
		{q: history.Query{Room: "r", From: "start"}, want: hub.ReadRequest{Mode: hub.ReadOldest, Limit: 100}},
		{q: history.Query{Room: "r/"}, code: codes.BadRoom},
		{q: history.Query{}, code: codes.BadRoom},
		{q: history.Query{Room: "r", Limit: 1001}, code: codes.BadParameter},
		{q: history.Query{Room: "r", Limit: -1}, code: codes.BadParameter},
		{q: history.Query{Room: "r", From: "end"}, code: codes.BadParameter},
		{q: history.Query{Room: "r", After: "0", Before: "0"}, code: codes.BadParameter},
		{q: history.Query{Room: "r", After: "e.07.g"}, code: codes.BadCursor},
		{q: history.Query{Room: "r", Before: "x=0"}, code: codes.BadCursor},
		{q: history.Query{Room: "r", After: strings.Repeat("x=0,", 2000)}, code: codes.BadCursor},
	} {
		got, e := history.Parse(tt.q)
		if tt.code != "" {
			if e == nil || e.Code != tt.code {
				t.Errorf("%+v: %v, want %s", tt.q, e, tt.code)
			}
			continue
		}
		tt.want.Room, tt.want.Bytes = "r", history.MaxBytes
		if e != nil || got != tt.want {
			t.Errorf("%+v: %+v, %v, want %+v", tt.q, got, e, tt.want)
		}
	}
}

func TestAppendPage(t *testing.T) {
	m := &hub.Message{Room: "r", Epoch: "e", Offset: 7, ID: "g", Time: 1, Data: []byte(`{}`)}
	m8 := &hub.Message{Room: "r", Epoch: "e", Offset: 8, ID: "h", Time: 1, Data: []byte(`"x"`)}
	head := hub.Position{Epoch: "e", Offset: 9, ID: "i"}
	floor := hub.Position{Epoch: "e", Offset: 6, ID: "f"}
	gap := &hub.Gap{Room: "r", Reason: hub.GapEvicted, To: floor}
	for _, tt := range []struct {
		name                  string
		r                     hub.ReadRequest
		page                  hub.Page
		before, cursor, field string
	}{
		{"full", hub.ReadRequest{Mode: hub.ReadAfter}, hub.Page{Messages: []*hub.Message{m, m8}, More: true, Head: head}, "r=e.7.g", "r=e.8.h", `"more":true`},
		{"gap", hub.ReadRequest{Mode: hub.ReadAfter}, hub.Page{Messages: []*hub.Message{m}, Gap: gap}, "r=e.7.g", "r=e.7.g", `"missed":6`},
		{"gap and nothing", hub.ReadRequest{Mode: hub.ReadAfter}, hub.Page{Gap: gap}, "", "r=e.6.f", `"more":false`},
		{"nothing after", hub.ReadRequest{Mode: hub.ReadAfter, From: at7}, hub.Page{Head: head}, "", "r=e.7.g", `"messages":[]`},
		{"nothing before", hub.ReadRequest{Mode: hub.ReadBefore, From: at7}, hub.Page{Head: head, Floor: floor}, "", "r=e.6.f", `"room":"r"`},
		{"nothing", hub.ReadRequest{Mode: hub.ReadLatest}, hub.Page{}, "", "r=0", `"messages":[]`},
	} {
		tt.r.Room = "r"
		b := "{" + string(history.AppendPage(nil, &tt.r, &tt.page, 5)) + "}"
		var got struct{ Before, Cursor string }
		if err := json.Unmarshal([]byte(b), &got); err != nil {
			t.Errorf("%s: %s: %v", tt.name, b, err)
		}
		if got.Before != tt.before || got.Cursor != tt.cursor || !strings.Contains(b, tt.field) {
			t.Errorf("%s: %s", tt.name, b)
		}
	}
}

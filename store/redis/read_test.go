package redis

import (
	"errors"
	"strings"
	"testing"

	"github.com/culvertd/culvert/hub"
)

// pageOf is what the read script returns for a history of three messages.
var pageOf = strings.Split("1000 page e 3 id3 0 id0 evicted e 1 id1 2 3 2 id2 998 u \"b\" 3 id3 999 u \"c\"", " ")

func TestParsePage(t *testing.T) {
	page, err := parsePage(hub.ReadRequest{Room: "r", From: hub.Position{}}, pageOf)
	if err != nil {
		t.Fatal(err)
	}
	to := hub.Position{Epoch: "e", Offset: 1, ID: "id1"}
	if len(page.Messages) != 2 || page.More || page.Head.Offset != 3 || !page.Floor.IsZero() || page.Gap == nil || page.Gap.To != to || page.Messages[1].ID != "id3" {
		t.Errorf("%+v, gap %+v", page, page.Gap)
	}
	for n := range pageOf {
		if _, err := parsePage(hub.ReadRequest{}, pageOf[:n]); err == nil && n != 13 && n != 18 {
			t.Errorf("%d elements are accepted", n)
		}
	}
	if _, err := parsePage(hub.ReadRequest{}, []string{"1000", "behind"}); !errors.Is(err, hub.ErrBehind) {
		t.Error(err)
	}
}

func TestAHoleEndsThePage(t *testing.T) {
	list := strings.Split("1000 page e 9 id9 0 x  e 0 x 1 9 1 id1 1 u a 2 id2 1 u b 5 id5 1 u c 9 id9 1 u d", " ")
	page, err := parsePage(hub.ReadRequest{Room: "r"}, list)
	if err != nil || len(page.Messages) != 2 || !page.More {
		t.Errorf("%+v, %v", page, err)
	}
}

func FuzzParsePage(f *testing.F) {
	f.Add(strings.Join(pageOf, "\x00"), 0)
	f.Add(strings.Join(pageOf, "\x00"), 1)
	f.Add("1\x00behind", 0)
	f.Fuzz(func(t *testing.T, text string, mode int) {
		page, err := parsePage(hub.ReadRequest{Room: "r", Mode: hub.ReadMode(mode)}, strings.Split(text, "\x00"))
		if err != nil {
			return
		}
		for i, m := range page.Messages {
			if m.Offset > hub.MaxOffset || i > 0 && m.Offset != page.Messages[i-1].Offset+1 {
				t.Fatalf("message %d is at %d", i, m.Offset)
			}
		}
	})
}

package storetest

import (
	"fmt"

	"github.com/culvertd/culvert/hub"
)

// publish does a batch; all of one room, or of several.
func (m *model) publish(name string) {
	n := 1
	if m.rand.IntN(5) == 0 {
		n = 1 + m.rand.IntN(8)
	}
	var batch []hub.Publish
	var lives []int
	for range n {
		if m.rand.IntN(6) == 0 {
			name = []string{"a", "b", "a:b", "c"}[m.rand.IntN(4)]
			m.settle(name, m.rooms[name])
		}
		data := fmt.Sprint("d", m.rand.IntN(2))
		p := message(name, data)
		p.Ephemeral = m.rand.IntN(6) == 0
		life := 0
		if m.rand.IntN(2) == 0 {
			life = m.rand.IntN(10)
			if m.b.RealTime {
				life = ample
			}
			p.Key, p.Subject = fmt.Sprint("k", m.rand.IntN(6)), []string{"", "u"}[m.rand.IntN(2)]
			p.KeyTTL = m.span(life)
			p.Fingerprint = fingerprint(data, p.Ephemeral)
		}
		batch, lives = append(batch, p), append(lives, life)
	}
	results := m.store.Publish(m.ctx, batch)
	for i, p := range batch {
		m.note("publish %s id %s key %q/%q life %d ephemeral %t %s: %+v", p.Room, p.ID, p.Subject, p.Key, lives[i], p.Ephemeral, p.Data, results[i])
		m.published(p, lives[i], results[i])
	}
}

func (m *model) published(p hub.Publish, life int, got hub.Result) {
	r := m.rooms[p.Room]
	key := [3]string{p.Room, p.Subject, p.Key}
	if k, ok := m.keys[key]; p.Key != "" && ok && alive(k.expires, m.now) {
		want := k.result
		want.Duplicate = true
		if k.fingerprint != p.Fingerprint {
			m.wantErr(got.Err, hub.ErrKeyConflict)
		} else if got != want {
			m.fail("got %+v, want %+v", got, want)
		}
		return
	}
	want := hub.Result{Time: got.Time}
	if !p.Ephemeral {
		want.Position = hub.Position{Epoch: r.head.Epoch, Offset: r.head.Offset + 1, ID: p.ID}
		if r.head.IsZero() {
			want.Position.Epoch = got.Position.Epoch
			for _, old := range r.past {
				if old.Epoch >= got.Position.Epoch {
					m.fail("the new epoch %s sorts before %s", got.Position.Epoch, old.Epoch)
				}
			}
		}
	}
	if got != want || got.Time == 0 || (!p.Ephemeral && got.Position.Epoch == "") {
		m.fail("got %+v, want %+v", got, want)
	}
	if p.Key != "" {
		m.keys[key] = modelKey{p.Fingerprint, got, m.now + life}
	}
	r.heard = append(r.heard, p.ID)
	if p.Ephemeral {
		return
	}
	r.head = got.Position
	r.past = append(r.past, got.Position)
	r.touched = m.now
	r.history = append(r.history, modelMessage{
		Message: hub.Message{Room: p.Room, Epoch: r.head.Epoch, Offset: r.head.Offset, ID: p.ID, Time: got.Time, From: p.From, Data: p.Data},
		expires: m.now + modelAge,
	})
	if len(r.history) > modelMessages {
		m.trim(r)
	}
}

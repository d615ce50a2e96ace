package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/culvertd/culvert/hub"
)

const (
	// patience is how long a position of an epoch that this Redis does not know
	// yet is waited for, from that epoch's birth: a failover or a node with an
	// old master has settled by then.
	patience = 30 * time.Second
	// maxPage is the most messages of one page; a request for more gets as many
	// and Page.More.
	maxPage = 10_000
	// maxRooms is the most rooms in one call of a script.
	maxRooms = 256
)

var errUnreadable = errors.New("redis: unreadable answer")

var modeNames = [...]string{
	hub.ReadAfter: "after", hub.ReadBefore: "before", hub.ReadOldest: "oldest", hub.ReadLatest: "latest",
}

// Read implements hub.Store.
func (s *Store) Read(ctx context.Context, r hub.ReadRequest) (hub.Page, error) {
	if !s.life.begin() {
		return hub.Page{}, hub.ErrClosed
	}
	defer s.life.end()
	if r.Mode < 0 || int(r.Mode) >= len(modeNames) {
		return hub.Page{}, fmt.Errorf("redis: unknown mode of a read: %d", r.Mode)
	}
	room := escape(r.Room)
	p := partitionOf(r.Room)
	born := int64(-1)
	if t, ok := hub.EpochBirth(r.From.Epoch); ok {
		born = t
	}
	keys := []string{s.keys.head(p, room), s.keys.stream(p, room)}
	args := []string{
		modeNames[r.Mode], r.From.Epoch, strconv.FormatUint(r.From.Offset, 10), r.From.ID,
		strconv.FormatInt(born, 10),
		strconv.Itoa(min(max(r.Limit, 1), maxPage)), strconv.Itoa(max(r.Bytes, 0)),
		strconv.FormatInt(s.opt.HistoryAge.Milliseconds(), 10), strconv.FormatInt(s.opt.patience.Milliseconds(), 10),
	}
	result, err := s.read(ctx, s.scripts.read, keys, args)
	if err != nil {
		return hub.Page{}, err
	}
	list, err := result.AsStrSlice()
	if err != nil {
		return hub.Page{}, s.wrap(ctx, err)
	}
	page, err := parsePage(r, list)
	if err != nil && !errors.Is(err, hub.ErrBehind) {
		return hub.Page{}, unavailable(err)
	}
	return page, err
}

// fields reads the elements of a script's list, and remembers the first that
// cannot be read.
type fields struct {
	list []string
	err  error
}

func (f *fields) text() string {
	if len(f.list) == 0 {
		f.err = errUnreadable
		return ""
	}
	s := f.list[0]
	f.list = f.list[1:]
	return s
}

func (f *fields) uint() uint64 {
	n, err := strconv.ParseUint(f.text(), 10, 63)
	if err != nil && f.err == nil {
		f.err = errUnreadable
	}
	return n
}

func (f *fields) offset() uint64 {
	n := f.uint()
	if n > hub.MaxOffset {
		f.err = errUnreadable
	}
	return n
}

// position reads an offset and an id; a zero offset is the zero Position.
func (f *fields) position(epoch string) hub.Position {
	offset, id := f.offset(), f.text()
	if offset == 0 {
		return hub.Position{}
	}
	return hub.Position{Epoch: epoch, Offset: offset, ID: id}
}

// parsePage reads what the read script returns.
func parsePage(r hub.ReadRequest, list []string) (hub.Page, error) {
	f := &fields{list: list}
	f.text() // now
	switch f.text() {
	case "behind":
		return hub.Page{}, hub.ErrBehind
	case "page":
	default:
		return hub.Page{}, errUnreadable
	}
	var page hub.Page
	epoch := f.text()
	page.Head, page.Floor = f.position(epoch), f.position(epoch)
	if reason := f.text(); reason != "" {
		page.Gap = &hub.Gap{Room: r.Room, Reason: hub.GapReason(reason), From: r.From, To: f.position(f.text())}
	} else {
		f.text()
		f.position("")
	}
	first, last := f.offset(), f.offset()
	for f.err == nil && len(f.list) > 0 {
		m := &hub.Message{Room: r.Room, Epoch: epoch, Offset: f.offset(), ID: f.text(), Time: int64(f.uint()), From: f.text(), Data: []byte(f.text())}
		page.Messages = append(page.Messages, m)
	}
	if f.err != nil {
		return hub.Page{}, f.err
	}
	n := len(page.Messages)
	if n == 0 {
		return page, nil
	}
	down := r.Mode == hub.ReadBefore || r.Mode == hub.ReadLatest
	// A hole in the stream (somebody deleted messages by hand) ends the page:
	// the next read meets it first, and tells it.
	for i := 1; i < n; i++ {
		a, b := page.Messages[i-1].Offset, page.Messages[i].Offset
		if down {
			a, b = b, a
		}
		if b != a+1 {
			page.Messages = page.Messages[:i]
			break
		}
	}
	reached := page.Messages[len(page.Messages)-1].Offset
	if down {
		page.More = reached > first
		slices.Reverse(page.Messages)
	} else {
		page.More = reached < last
	}
	return page, nil
}

// Heads implements hub.Store.
func (s *Store) Heads(ctx context.Context, rooms []string) ([]hub.Position, error) {
	if !s.life.begin() {
		return nil, hub.ErrClosed
	}
	defer s.life.end()
	heads := make([]hub.Position, len(rooms))
	for _, group := range s.groups(len(rooms), func(i int) string { return rooms[i] }) {
		for part := range slices.Chunk(group, maxRooms) {
			if err := s.heads(ctx, rooms, part, heads); err != nil {
				return nil, err
			}
		}
	}
	return heads, nil
}

// heads asks for the rooms whose indices are given.
func (s *Store) heads(ctx context.Context, rooms []string, part []int, heads []hub.Position) error {
	keys := make([]string, 0, 4*len(part))
	args := make([]string, 0, 2+2*len(part))
	args = append(args, s.command, strconv.FormatInt(s.opt.HeadTTL.Milliseconds(), 10))
	for _, i := range part {
		room, p := escape(rooms[i]), partitionOf(rooms[i])
		keys = append(keys, s.keys.head(p, room), s.keys.leases(p, room), s.keys.joined(p, room), s.keys.clients(p, room))
		args = append(args, s.keys.channel[p], room)
	}
	result, err := s.read(ctx, s.scripts.heads, keys, args)
	if err != nil {
		return err
	}
	list, err := result.ToArray()
	if err != nil {
		return s.wrap(ctx, err)
	}
	if len(list) != len(part) {
		return unavailable(errUnreadable)
	}
	for j, i := range part {
		if list[j].IsNil() {
			continue
		}
		value, err := list[j].ToString()
		if err != nil {
			return unavailable(errUnreadable)
		}
		// As the scripts: what cannot be read is a position that is lost.
		epoch, rest, _ := strings.Cut(value, " ")
		offset, rest, _ := strings.Cut(rest, " ")
		id, _, _ := strings.Cut(rest, " ")
		if n, err := strconv.ParseUint(offset, 10, 63); err == nil && n > 0 {
			heads[i] = hub.Position{Epoch: epoch, Offset: n, ID: id}
		}
	}
	return nil
}

// groups parts n elements into those that may share a call: all of them, or in
// a cluster those of one partition.
func (s *Store) groups(n int, room func(int) string) [][]int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	if s.addr.Mode != "cluster" {
		return [][]int{all}
	}
	slices.SortStableFunc(all, func(a, b int) int { return partitionOf(room(a)) - partitionOf(room(b)) })
	var groups [][]int
	for start := 0; start < n; {
		end := start + 1
		for end < n && partitionOf(room(all[end])) == partitionOf(room(all[start])) {
			end++
		}
		groups = append(groups, all[start:end])
		start = end
	}
	return groups
}

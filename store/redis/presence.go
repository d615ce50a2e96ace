package redis

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/culvertd/culvert/hub"
)

const (
	// leaseGrace is how long the keys of presence outlive the last lease, so
	// that somebody can find it ended and tell.
	leaseGrace = 10 * time.Minute
	// maxLeases is the most leases in one call of a script (about a millisecond
	// of Redis' time).
	maxLeases = 256
	// maxSweeps bounds the calls of one Present that only sweep: each sweeps
	// 500 leases.
	maxSweeps = 400
)

// Renew implements hub.Store.
func (s *Store) Renew(ctx context.Context, leases []hub.Lease) error {
	return s.lease(ctx, leases, true)
}

// Release implements hub.Store.
func (s *Store) Release(ctx context.Context, leases []hub.Lease) error {
	return s.lease(ctx, leases, false)
}

func (s *Store) lease(ctx context.Context, leases []hub.Lease, renew bool) error {
	if !s.life.begin() {
		return hub.ErrClosed
	}
	defer s.life.end()
	var errs []error
	for _, group := range s.groups(len(leases), func(i int) string { return leases[i].Room }) {
		// By room, because keys are named once a room.
		slices.SortStableFunc(group, func(a, b int) int { return strings.Compare(leases[a].Room, leases[b].Room) })
		for part := range slices.Chunk(group, maxLeases) {
			if err := s.leasePart(ctx, leases, part, renew); err != nil {
				errs = append(errs, err)
				if ctx.Err() != nil {
					return errors.Join(errs...)
				}
			}
		}
	}
	return errors.Join(errs...)
}

// leasePart renews or releases the leases whose indices are given, which are
// sorted by room. Doing it twice does no harm, so it may be repeated.
func (s *Store) leasePart(ctx context.Context, leases []hub.Lease, part []int, renew bool) error {
	args := []string{s.command}
	if renew {
		args = append(args, strconv.FormatInt(leaseGrace.Milliseconds(), 10))
	}
	var keys []string
	for start := 0; start < len(part); {
		name := leases[part[start]].Room
		end := start
		for end < len(part) && leases[part[end]].Room == name {
			end++
		}
		p, room := partitionOf(name), escape(name)
		keys = append(keys, s.keys.leases(p, room), s.keys.joined(p, room), s.keys.clients(p, room))
		args = append(args, s.keys.channel[p], room, strconv.Itoa(end-start))
		for _, i := range part[start:end] {
			l := &leases[i]
			args = append(args, escape(l.Client), escape(l.Holder))
			if renew {
				args = append(args, escape(l.From), strconv.FormatInt(max(1, l.TTL.Milliseconds()), 10))
			}
		}
		start = end
	}
	sc := s.scripts.release
	if renew {
		sc = s.scripts.renew
	}
	_, err := s.read(ctx, sc, keys, args)
	return err
}

// Present implements hub.Store.
func (s *Store) Present(ctx context.Context, room string, limit int) (hub.Presence, error) {
	if !s.life.begin() {
		return hub.Presence{}, hub.ErrClosed
	}
	defer s.life.end()
	p, name := partitionOf(room), escape(room)
	keys := []string{s.keys.leases(p, name), s.keys.joined(p, name), s.keys.clients(p, name)}
	args := []string{s.command, s.keys.channel[p], name, strconv.Itoa(max(0, min(limit, maxPage)))}
	for range maxSweeps {
		result, err := s.read(ctx, s.scripts.present, keys, args)
		if err != nil {
			return hub.Presence{}, err
		}
		list, err := result.AsStrSlice()
		if err != nil {
			return hub.Presence{}, s.wrap(ctx, err)
		}
		f := &fields{list: list}
		more := f.uint()
		out := hub.Presence{Count: int(f.uint())}
		if more == 1 && f.err == nil {
			continue
		}
		for f.err == nil && len(f.list) > 0 {
			var m hub.Member
			client, since, from := f.text(), f.uint(), f.text()
			var ok1, ok2 bool
			m.Client, ok1 = unescape(client)
			m.From, ok2 = unescape(from)
			m.Since = int64(since)
			if !ok1 || !ok2 {
				f.err = errUnreadable
			}
			out.Members = append(out.Members, m)
		}
		if f.err != nil {
			return hub.Presence{}, unavailable(f.err)
		}
		return out, nil
	}
	return hub.Presence{}, unavailable(errors.New("redis: too many ended leases to sweep"))
}

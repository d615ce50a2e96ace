package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/redis/rueidis"
)

// lacks is what is missing to the store in the server.
type lacks struct {
	mu      sync.Mutex
	grants  []string // what ACL SETUSER would have to give the user; guarded by mu
	unknown []string // commands that the server does not have; guarded by mu
	said    string   // what it said of the first of them; guarded by mu
}

// checkRights finds out whether the server lets this user do all that the store
// does, and the error says what not. Else Redis would tell in the middle of a
// publish, at the first message or hours later. unchecked is why that could not
// be found out. In a cluster every node has users of its own, so all partitions
// are tried.
func (s *Store) checkRights(ctx context.Context) (unchecked, err error) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	tried := 1
	if s.addr.Mode == "cluster" {
		tried = partitions
	}
	var l lacks
	errs := make([]error, tried)
	var all sync.WaitGroup
	for p := range tried {
		all.Go(func() { errs[p] = errors.Join(s.tryScripts(ctx, p, &l), s.trySubscription(ctx, p, &l)) })
	}
	all.Wait()
	for _, e := range errs {
		switch {
		case e == nil:
		case !isReply(e):
			return nil, s.wrap(ctx, e)
		case unchecked == nil:
			unchecked = e
		}
	}
	return unchecked, l.error(s.addr)
}

// tryScripts calls each command that the scripts call, from a script, for some
// servers say there only what they would say to a publish.
func (s *Store) tryScripts(ctx context.Context, p int, l *lacks) error {
	sc := s.scripts.rights
	key, args := s.keys.probe(p, s.node), []string{s.command, s.keys.probe(p, s.node)}
	for _, call := range [][]string{{"EVAL", sc.text, "1"}, {"EVALSHA", sc.sha, "1"}} {
		said, err := s.client.Do(ctx, s.client.B().Arbitrary(call...).Keys(key).Args(args...).Build()).AsStrSlice()
		if err != nil {
			if s.lacking(l, call[0], err.Error()) {
				continue
			}
			return err
		}
		for pair := range slices.Chunk(said, 2) {
			s.lacking(l, pair[0], pair[len(pair)-1])
		}
	}
	return nil
}

// trySubscription subscribes to a channel and leaves it again.
func (s *Store) trySubscription(ctx context.Context, p int, l *lacks) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	channel := s.keys.probe(p, s.node)
	b := s.client.B()
	enter, leave, name := b.Subscribe().Channel(channel).Build(), b.Unsubscribe().Channel(channel).Build(), "SUBSCRIBE"
	if s.addr.Mode == "cluster" {
		enter, leave, name = b.Ssubscribe().Channel(channel).Build(), b.Sunsubscribe().Channel(channel).Build(), "SSUBSCRIBE"
	}
	left := make(chan error, 1)
	var once sync.Once
	entered := rueidis.WithOnSubscriptionHook(ctx, func(sub rueidis.PubSubSubscription) {
		once.Do(func() {
			go func() { // the hook keeps the connection from being read
				err := s.client.Do(ctx, leave).Error()
				left <- err
				if err != nil {
					cancel() // nothing else ends Receive
				}
			}()
		})
	})
	err := s.client.Receive(entered, enter, func(rueidis.PubSubMessage) {})
	if err != nil && isReply(err) {
		if s.lacking(l, name, err.Error()) {
			return nil
		}
		return err
	}
	select {
	case leaving := <-left:
		if leaving == nil || s.lacking(l, strings.Replace(name, "SUB", "UNSUB", 1), leaving.Error()) {
			return nil
		}
		return leaving
	default:
		return err
	}
}

// lacking notes what the answer to a command says is missing, and reports
// whether it says so.
func (s *Store) lacking(l *lacks, command, said string) bool {
	grant := grantFor(command, said, s.keys.pattern, s.addr.DB)
	unknown := grant == "" && unknownCommand(said)
	if grant == "" && !unknown {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.said == "" {
		l.said = said
	}
	if unknown {
		l.unknown = append(l.unknown, command)
	} else {
		l.grants = append(l.grants, grant)
	}
	return true
}

// grantFor is what a user has to be given so that Redis does not answer a
// command with this text; "" for a text that is not about rights.
func grantFor(command, said, pattern string, db int) string {
	word, rest, _ := strings.Cut(said, " ")
	switch {
	case word == "NOPERM":
	// What scripts are told: since 7.2, and by 7.0.
	case strings.HasPrefix(rest, "ACL failure in script: "), strings.HasPrefix(rest, "The user executing the script "):
	default:
		return ""
	}
	switch {
	case strings.Contains(rest, "permissions to run the '"), strings.Contains(rest, "can't run this command"):
	case strings.Contains(rest, "channel"):
		return "&" + pattern
	case strings.Contains(rest, "key"):
		return "~" + pattern
	case strings.Contains(rest, "database"): // Valkey 9
		return fmt.Sprintf("db=%d", db)
	}
	return "+" + strings.ToLower(command)
}

// unknownCommand reports whether Redis says that it has no such command.
func unknownCommand(said string) bool {
	said = strings.ToLower(said)
	return strings.HasPrefix(said, "err unknown ") && strings.Contains(said, "command")
}

// error tells the operator what to do; nil where nothing is missing.
func (l *lacks) error(a Address) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	once := func(list []string) string {
		slices.Sort(list)
		return strings.Join(slices.Compact(list), " ")
	}
	var errs []error
	if len(l.grants) > 0 {
		user, where := a.Username, ""
		if user == "" {
			user = "default"
		}
		if a.Mode == "cluster" {
			where = ", on every node of the cluster" // each has users of its own
		}
		errs = append(errs, fmt.Errorf("redis: the user %s has not all the rights that are needed; this gives them%s: ACL SETUSER %s %s (redis says: %s)",
			user, where, user, once(l.grants), l.said))
	}
	if len(l.unknown) > 0 {
		errs = append(errs, fmt.Errorf("redis: the server lacks commands that are needed, or has them under other names: %s", once(l.unknown)))
	}
	return errors.Join(errs...)
}

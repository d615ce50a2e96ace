package redis

import (
	"errors"
	"fmt"
	"strings"

	"github.com/culvertd/culvert/hub"
	"github.com/redis/rueidis"
)

// refusals are the first words of errors with which Redis answers instead of
// doing anything.
var refusals = map[string]bool{
	"OOM": true, "READONLY": true, "LOADING": true, "NOAUTH": true, "WRONGPASS": true, "NOPERM": true,
	"MISCONF": true, "CLUSTERDOWN": true, "MASTERDOWN": true, "TRYAGAIN": true, "MOVED": true, "ASK": true,
	"CROSSSLOT": true, "BUSY": true, "NOREPLICAS": true, "NOSCRIPT": true, "NOPROTO": true, "EXECABORT": true,
	// The scripts read before they write, and write only what they have read
	// or what XADD has checked.
	"WRONGTYPE": true,
}

// refused reports whether err says that the command certainly had no effect.
func refused(err error) bool {
	var re *rueidis.RedisError
	if errors.As(err, &re) {
		word, rest, _ := strings.Cut(re.Error(), " ")
		if refusals[word] {
			return true
		}
		// What Redis says before it runs anything begins with a plain ERR.
		return word == "ERR" && (strings.HasPrefix(rest, "unknown command") || strings.HasPrefix(rest, "max number of clients"))
	}
	return errors.Is(err, errDial) || errors.Is(err, rueidis.ErrNoAddr) || errors.Is(err, rueidis.ErrNoSlot)
}

// refusal is what Redis said to the publish script before that had done anything.
type refusal string

func (r refusal) Error() string { return "redis: " + string(r) }

// readOnly reports whether err says that the server is no master any more.
func readOnly(err error) bool {
	re, ok := errors.AsType[*rueidis.RedisError](err)
	if !ok {
		return false
	}
	// Where replicas are to say nothing old (replica-serve-stale-data no), one
	// that does not hear its master says the latter to everything.
	word, _, _ := strings.Cut(re.Error(), " ")
	return word == "READONLY" || word == "MASTERDOWN"
}

// demoted has all connections made anew where a server said that it is no
// master any more: the same name may lead to the new one.
func (s *Store) demoted(readOnly bool) {
	if readOnly && s.conns.reset() {
		s.opt.Logger.Warn("redis is read-only; connecting again")
	}
}

// isReply reports whether err is an answer of the server, and not the lack of
// one.
func isReply(err error) bool {
	_, refused := errors.AsType[refusal](err)
	_, answered := errors.AsType[*rueidis.RedisError](err)
	return refused || answered
}

// unavailable is err as hub.Store's callers know it. The words of Redis and of
// the network are kept: none of them has a password.
func unavailable(err error) error {
	if errors.Is(err, hub.ErrClosed) || errors.Is(err, hub.ErrUnavailable) {
		return err
	}
	return fmt.Errorf("%w: %w", hub.ErrUnavailable, err)
}

package redis

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/culvertd/culvert/hub"
)

// Warning is something about the server that the operator should know.
type Warning struct {
	// Code is stable: "eviction", "persistence", "clock" or "unchecked".
	Code string
	// Text says what is the matter, and why it matters.
	Text string
}

// clockTolerance is how far the clocks of this node and of Redis may be apart
// without a word. It covers what the way there and back takes.
const clockTolerance = time.Second

// Check looks at the server's settings, and at what it lets this user do. An
// error means that the store cannot work with it (it is too old, or refuses
// commands that are needed, which the error names), or that it does not answer;
// a server that does not let us look is a warning only. A cluster's settings are
// judged by one of its nodes.
func (s *Store) Check(ctx context.Context) ([]Warning, error) {
	if !s.life.begin() {
		return nil, hub.ErrClosed
	}
	defer s.life.end()
	var warnings []Warning
	warn := func(code, format string, args ...any) {
		warnings = append(warnings, Warning{code, fmt.Sprintf(format, args...)})
	}

	asked := time.Now()
	t, err := s.time(ctx)
	if err != nil {
		return nil, s.wrap(ctx, err)
	}
	half := time.Since(asked) / 2
	if apart := time.UnixMilli(t).Sub(asked.Add(half)).Abs(); apart > clockTolerance+half {
		warn("clock", "the clocks of Redis and of this node are %v apart: messages and leases carry the time of Redis. Synchronise both (NTP).", apart.Round(time.Millisecond))
	}

	unchecked, err := s.checkRights(ctx)
	if err != nil {
		return nil, err
	}
	if unchecked != nil {
		warn("unchecked", "it could not be checked whether Redis allows all commands that are needed: %v", unchecked)
	}

	info, err := s.info(ctx, "server")
	if err != nil {
		if !isReply(err) {
			return nil, s.wrap(ctx, err)
		}
		warn("unchecked", "version and settings could not be checked, INFO is not allowed: %v. Wanted are Redis 7 or newer, maxmemory-policy noeviction and appendonly yes.", err)
		return warnings, nil
	}
	if err := checkVersion(info); err != nil {
		return nil, err
	}

	policy := s.setting(ctx, "memory", "maxmemory_policy", "maxmemory-policy")
	switch policy {
	case "noeviction":
	case "":
		warn("unchecked", "maxmemory-policy could not be read. Wanted is noeviction.")
	default:
		warn("eviction", "maxmemory-policy is %s: Redis may throw away idempotency keys before their time (a repeated publish is applied twice) and positions (readers get a gap). Set it to noeviction: then publishes are refused when memory is full, which their senders see.", policy)
	}

	switch aof := s.setting(ctx, "persistence", "aof_enabled", "appendonly"); aof {
	case "1", "yes":
	case "":
		warn("unchecked", "appendonly could not be read. Wanted is yes.")
	default:
		warn("persistence", "appendonly is off: a restart of Redis loses what came after the last snapshot, or everything, idempotency keys included. Readers are told (a gap). Set appendonly yes.")
	}
	return warnings, nil
}

// setting reads a setting from INFO, or from CONFIG where INFO lacks it; ""
// where neither tells.
func (s *Store) setting(ctx context.Context, section, field, parameter string) string {
	if info, err := s.info(ctx, section); err == nil && info[field] != "" {
		return info[field]
	}
	m, err := s.client.Do(ctx, s.client.B().ConfigGet().Parameter(parameter).Build()).AsStrMap()
	if err != nil {
		return ""
	}
	return m[parameter]
}

// info reads one section of INFO.
func (s *Store) info(ctx context.Context, section string) (map[string]string, error) {
	text, err := s.client.Do(ctx, s.client.B().Info().Section(section).Build()).ToString()
	if err != nil {
		return nil, err
	}
	m := make(map[string]string)
	for line := range strings.Lines(text) {
		if k, v, ok := strings.Cut(strings.TrimRight(line, "\r\n"), ":"); ok {
			m[k] = v
		}
	}
	return m, nil
}

// checkVersion refuses servers that lack what the scripts use.
func checkVersion(info map[string]string) error {
	version := info["redis_version"] // Valkey gives the Redis version it stems from
	if version == "" {
		return nil
	}
	major, _, _ := strings.Cut(version, ".")
	if n, err := strconv.Atoi(major); err == nil && n < 7 {
		return fmt.Errorf("redis: the server is version %s, 7 or newer is needed (sharded channels, and scripts that Redis does not stop half way when memory is full)", version)
	}
	return nil
}

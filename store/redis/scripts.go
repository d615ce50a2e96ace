package redis

import (
	"context"
	"crypto/sha1"
	_ "embed"
	"encoding/hex"
	"errors"
	"strconv"

	"github.com/redis/rueidis"
)

var (
	//go:embed scripts/publish.lua
	publishText string
	//go:embed scripts/read.lua
	readText string
	//go:embed scripts/presence.lua
	presenceText string
	//go:embed scripts/heads.lua
	headsText string
	//go:embed scripts/renew.lua
	renewText string
	//go:embed scripts/release.lua
	releaseText string
	//go:embed scripts/present.lua
	presentText string
	//go:embed scripts/rights.lua
	rightsText string
)

// script is a Lua script as Redis knows it.
type script struct{ text, sha string }

func newScript(parts ...string) script {
	var s script
	for _, p := range parts {
		s.text += p + "\n"
	}
	sum := sha1.Sum([]byte(s.text))
	s.sha = hex.EncodeToString(sum[:])
	return s
}

// scripts are all of a store's.
type scripts struct{ publish, read, heads, renew, release, present, rights script }

func newScripts() scripts {
	return scripts{
		publish: newScript(publishText),
		read:    newScript(readText),
		heads:   newScript(presenceText, headsText),
		renew:   newScript(presenceText, renewText),
		release: newScript(presenceText, releaseText),
		present: newScript(presenceText, presentText),
		rights:  newScript(rightsText),
	}
}

// run runs a script, by its hash, and with its text where the server does not
// know the hash (after a restart, for one). NOSCRIPT means that nothing ran, so
// the second try cannot repeat anything.
func (s script) run(ctx context.Context, c rueidis.Client, keys, args []string) rueidis.RedisResult {
	n := strconv.Itoa(len(keys))
	r := c.Do(ctx, c.B().Arbitrary("EVALSHA", s.sha, n).Keys(keys...).Args(args...).Build())
	var re *rueidis.RedisError
	if err := r.Error(); err != nil && errors.As(err, &re) && re.IsNoScript() {
		r = c.Do(ctx, c.B().Arbitrary("EVAL", s.text, n).Keys(keys...).Args(args...).Build())
	}
	return r
}

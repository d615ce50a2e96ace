package publish

import (
	"errors"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/transport/codes"
)

// Failed is what a client is told of a publish that failed. Where the outcome is
// unknown it matters whether there was a key: without one, a repeat may be a
// second message.
func Failed(err error, key string) *codes.Error {
	if key == "" && errors.Is(err, hub.ErrOutcomeUnknown) {
		return codes.New(codes.OutcomeUnknown, "the publish may or may not have taken effect; it had no idempotency key, so a repeat may be a second message")
	}
	return codes.From(err)
}

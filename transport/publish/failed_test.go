package publish

import (
	"fmt"
	"strings"
	"testing"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/transport/codes"
)

// Only a publish with a key is told to repeat itself with it.
func TestFailed(t *testing.T) {
	unknown := fmt.Errorf("broken: %w", hub.ErrOutcomeUnknown)
	for key, want := range map[string]string{"k": "repeat it with the same idempotency key", "": "a repeat may be a second message"} {
		if e := Failed(unknown, key); e.Code != codes.OutcomeUnknown || !strings.Contains(e.Message, want) {
			t.Errorf("key %q: %+v", key, e)
		}
	}
	if e := Failed(hub.ErrKeyConflict, ""); e.Code != codes.KeyConflict {
		t.Errorf("%+v", e)
	}
}

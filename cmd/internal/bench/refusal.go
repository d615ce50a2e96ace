package bench

import (
	"fmt"

	"github.com/culvertd/culvert/cmd/internal/client"
)

// answeredWith is an answer of a status that was not wanted, with the server's
// own words about it.
func answeredWith(status int, body []byte) error {
	if text := client.Told(body); text != "" {
		return fmt.Errorf("answered with status %d: %s", status, text)
	}
	return fmt.Errorf("answered with status %d", status)
}

// toldError is the error of an envelope: an object with a code and a message.
func toldError(object []byte) error {
	body := append(append([]byte(`{"protocol":1,"error":`), object...), '}')
	if text := client.Told(body); text != "" {
		return fmt.Errorf("%w: %s", errStatus, text)
	}
	return fmt.Errorf("%w: %.200s", errStatus, object)
}

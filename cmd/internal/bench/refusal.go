package bench

import (
	"fmt"

	"github.com/culvertd/culvert/cmd/internal/client"
)

// answeredWith is an answer of a status that was not wanted, with the server's
// own words about it.
func (o *options) answeredWith(status int, body []byte) error {
	text, ours := client.Told(body)
	by := ""
	if !ours && o.peer == peerCulvert {
		by = ", not by Culvert"
	}
	if text != "" {
		text = ": " + text
	}
	return fmt.Errorf("answered with status %d%s%s", status, by, text)
}

// toldError is the error of an envelope: an object with a code and a message.
func toldError(object []byte) error {
	body := append(append([]byte(`{"protocol":1,"error":`), object...), '}')
	if text, ours := client.Told(body); ours {
		return fmt.Errorf("%w: %s", errStatus, text)
	}
	return fmt.Errorf("%w: %.200s", errStatus, object)
}

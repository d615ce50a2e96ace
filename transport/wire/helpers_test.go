package wire_test

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"encoding/json"
	"unicode/utf8"
)

// acceptKey answers a WebSocket handshake (RFC 6455, 4.2.2).
func acceptKey(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// bareText is data as it is stored, and as the bare form shows it, by the
// standard library; ok is false for what is not stored.
func bareText(data string) (compact, text string, ok bool) {
	var b bytes.Buffer
	if !utf8.ValidString(data) || json.Compact(&b, []byte(data)) != nil {
		return "", "", false
	}
	compact = b.String()
	if compact[0] != '"' {
		return compact, compact, true
	}
	err := json.Unmarshal(b.Bytes(), &text)
	return compact, text, err == nil
}

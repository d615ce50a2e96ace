package main

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/culvertd/culvert/cmd/internal/settings"
	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/store/redis"
	"github.com/culvertd/culvert/transport"
)

// check refuses settings that contradict each other, all of them at once. A
// server that is started nevertheless would refuse what it promises, or leave
// out what it was told.
func (o *serveOptions) check() error {
	var wrong []string
	refuse := func(contradicts bool, format string, args ...any) {
		if contradicts {
			wrong = append(wrong, fmt.Sprintf(format, args...))
		}
	}
	size := settings.FormatSize
	onRedis := o.store != storeMemory

	refuse((o.tlsCert == "") != (o.tlsKey == ""), "--tls-cert and --tls-key belong together: one of them is missing")

	// The largest message that clients may send must have its place everywhere.
	kept := o.maxMessageBytes + besideData
	refuse(kept > o.historyBytes, "--max-message-bytes %s is more than --history-bytes %s can hold: raise the latter to %s at least",
		size(o.maxMessageBytes), size(o.historyBytes), size(roundUp(kept)))
	refuse(kept > o.memory/2, "--max-message-bytes %s is more than a half of --memory %s, which is for what is on its way: raise the latter to %s at least",
		size(o.maxMessageBytes), size(o.memory), size(2*roundUp(kept)))
	refuse(o.maxMessageBytes > o.maxBatchBytes, "--max-message-bytes %s is more than --max-batch-bytes %s: such a message could not come over WebSocket",
		size(o.maxMessageBytes), size(o.maxBatchBytes))
	refuse(o.compressFrom > kept, "--compress-from %s is more than --max-message-bytes %s: nothing would be compressed",
		size(o.compressFrom), size(o.maxMessageBytes))
	refuse(!onRedis && o.historyBytes > o.memory/2, "--history-bytes %s is more than a half of --memory %s, which is for the history of all rooms",
		size(o.historyBytes), size(o.memory))

	for _, x := range o.forMemory {
		refuse(onRedis && x.Given(), "%s is for the memory store only: Redis has bounds of its own", x)
	}
	refuse(!onRedis && o.forRedis.Given(), "%s is for a Redis: give its --store as well", o.forRedis)
	refuse(o.bareHeartbeat != "" && len(o.barePaths) == 0, "--bare-heartbeat is for a --bare-path, and there is none")
	if err := (transport.Options{BarePaths: o.barePaths}).Validate(); err != nil {
		refuse(true, "--bare-path: %s", strings.TrimPrefix(err.Error(), "transport: "))
	}
	if onRedis {
		wrong = append(wrong, o.beyondRedis()...)
	}
	if len(wrong) > 0 {
		return settings.Errorf("%s", strings.Join(wrong, "\n"))
	}
	return nil
}

// besideData is what a message counts for beside its data, at most: see
// hub.Message.Size.
var besideData = int64((&hub.Message{Room: strings.Repeat("r", hub.MaxRoomNameLen)}).Size())

// roundUp makes a size one that people write.
func roundUp(n int64) int64 { return (n + 1<<10 - 1) &^ (1<<10 - 1) }

// beyondRedis names the flags that Redis allows less of than the memory store:
// redis.Options knows them by other names.
func (o *serveOptions) beyondRedis() (wrong []string) {
	const format = "%s is more than %v, which is the most with Redis"
	if o.historyMessages > redis.MaxHistoryCount {
		wrong = append(wrong, fmt.Sprintf(format, "--history-messages", redis.MaxHistoryCount))
	}
	if o.historyBytes > redis.MaxHistoryBytes {
		wrong = append(wrong, fmt.Sprintf(format, "--history-bytes", "1GiB"))
	}
	if o.historyAge > redis.MaxHistoryAge {
		wrong = append(wrong, fmt.Sprintf(format, "--history-age", "8784h"))
	}
	if o.roomTTL > redis.MaxHeadTTL {
		wrong = append(wrong, fmt.Sprintf(format, "--room-ttl", "17568h"))
	}
	return wrong
}

func checkOrigin(text string) error {
	if text == "*" {
		return nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme == "" || u.Host == "" || u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil ||
		(transport.Options{AllowOrigins: []string{text}}).Validate() != nil {
		return errors.New("it must be scheme://host or scheme://host:port in lower case, without a slash at the end, or * alone")
	}
	return nil
}

func checkBarePath(text string) error {
	if !strings.HasPrefix(text, "/") || strings.Count(text, "{room}") != 1 || strings.ContainsAny(text, "?#:*") {
		return errors.New("it must begin with / and contain {room} once, such as /ws/chat/{room}/")
	}
	if err := (transport.Options{BarePaths: []string{text}}).Validate(); err != nil {
		why := err.Error()
		if _, after, ok := strings.Cut(why, strconv.Quote(text)+": "); ok {
			why = after
		}
		return errors.New(why)
	}
	return nil
}

func checkPrefix(text string) error {
	if len(text) > 64 || hub.ValidateRoom(text) != nil {
		return errors.New("it must be 1-64 characters of a-z A-Z 0-9 . _ ~ : @ -")
	}
	return nil
}

func checkNodeID(text string) error {
	if hub.ValidateRoom(text) != nil {
		return errors.New("it must be 1-200 bytes of A-Z a-z 0-9 . _ ~ : @ -")
	}
	return nil
}

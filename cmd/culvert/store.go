package main

import (
	"errors"
	"log/slog"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/store/memory"
)

func checkStore(text string) error {
	if text != "memory" {
		return errors.New("it must be memory")
	}
	return nil
}

// openStore opens the store that --store names.
func openStore(o *serveOptions, logger *slog.Logger) (hub.Store, error) {
	return memory.New(memory.Options{
		HistoryMessages: o.historyMessages,
		HistoryBytes:    int(o.historyBytes),
		HistoryAge:      o.historyAge,
		RoomTTL:         o.roomTTL,
		TotalBytes:      o.memory / 2,
		MaxRooms:        o.maxRooms,
		MaxKeys:         o.maxKeys,
		MaxKeyBytes:     int64(o.maxKeys) * memory.KeyBytes,
		Logger:          logger,
	})
}

// storeName is the store as logs show it.
func storeName(text string) string { return text }

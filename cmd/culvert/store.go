package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/store/memory"
	"github.com/culvertd/culvert/store/redis"
	"github.com/culvertd/culvert/store/redis/mini"
)

// What --store takes besides the URL of a Redis.
const (
	storeMemory = "memory"
	storeMini   = "miniredis"
)

func checkStore(text string) error {
	if text == storeMemory || text == storeMini {
		return nil
	}
	if !strings.Contains(text, "://") {
		return errors.New("it must be memory, miniredis or a URL such as redis://localhost:6379")
	}
	_, err := redis.ParseURL(text)
	return err
}

// openStore opens the store that --store names; name is what logs call it, and
// has no password in it.
func openStore(ctx context.Context, o *serveOptions, logger *slog.Logger) (store hub.Store, name string, err error) {
	switch o.store {
	case storeMemory:
		store, err = memory.New(memory.Options{
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
		return store, storeMemory, err
	case storeMini:
		s, err := mini.Open(ctx, "", o.redisOptions(logger))
		if err != nil {
			return nil, "", fmt.Errorf("--store: %w", err)
		}
		host, port, _ := strings.Cut(s.Addr, ":")
		return s, fmt.Sprintf("miniredis, for development only; look at its keys with redis-cli -h %s -p %s", host, port), nil
	}
	s, err := redis.Open(ctx, o.redisOptions(logger))
	if err != nil {
		return nil, "", fmt.Errorf("--store: %w", err)
	}
	warnings, err := s.Check(ctx)
	if err != nil {
		s.Close()
		return nil, "", fmt.Errorf("--store: %w", err)
	}
	for _, w := range warnings {
		logger.Warn("redis: "+w.Text, "code", w.Code)
	}
	address, err := redis.ParseURL(o.store)
	return s, "redis, " + address.String(), err
}

func (o *serveOptions) redisOptions(logger *slog.Logger) redis.Options {
	return redis.Options{
		URL:          o.store,
		Prefix:       o.redisPrefix,
		HistoryCount: o.historyMessages,
		HistoryBytes: int(o.historyBytes),
		HistoryAge:   o.historyAge,
		HeadTTL:      max(o.roomTTL, o.historyAge), // a message's room must be there as long as it is
		KeyTTL:       o.dedupeTTL,
		Logger:       logger,
	}
}

package config

import (
	"context"
	"io"
	"log/slog"
	"sync/atomic"
	"time"
)

// Log says what is logged, and how it is written.
type Log struct {
	Level  string `toml:"level"`  // debug, info, warn or error
	Format string `toml:"format"` // text or json
	Access string `toml:"access"` // on: one record a request; or off
}

var logLevels = map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}

func (c Log) check(f *faults) {
	if _, known := logLevels[c.Level]; !known {
		f.add("log.level", `write "debug", "info", "warn" or "error"`)
	}
	if c.Format != "text" && c.Format != "json" {
		f.add("log.format", `write "text" or "json"`)
	}
	if c.Access != "on" && c.Access != "off" {
		f.add("log.access", `write "on" or "off"`)
	}
}

// Logger returns a logger that writes to w, and its handler, which can be changed.
func (c Log) Logger(w io.Writer) (*slog.Logger, *LogHandler) {
	h := &LogHandler{level: new(slog.LevelVar), json: new(atomic.Bool)}
	o := &slog.HandlerOptions{Level: h.level, ReplaceAttr: shown}
	h.asText, h.asJSON = slog.NewTextHandler(w, o), slog.NewJSONHandler(w, o)
	h.Set(c)
	return slog.New(h), h
}

// shown makes durations text, such as "1.5s", without the nanoseconds of one that took
// longer. In JSON they would be numbers of nanoseconds, without a word about it.
func shown(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() != slog.KindDuration {
		return a
	}
	d := a.Value.Duration()
	if d.Abs() >= time.Millisecond {
		d = d.Round(time.Millisecond)
	}
	return slog.String(a.Key, d.String())
}

// LogHandler writes records in the format that is set, from the level that is set.
type LogHandler struct {
	level          *slog.LevelVar
	json           *atomic.Bool
	asText, asJSON slog.Handler
}

// Set changes the level and the format, also of the loggers that were made from this one.
func (h *LogHandler) Set(c Log) {
	h.level.Set(logLevels[c.Level])
	h.json.Store(c.Format == "json")
}

func (h *LogHandler) handler() slog.Handler {
	if h.json.Load() {
		return h.asJSON
	}
	return h.asText
}

// Enabled implements [slog.Handler].
func (h *LogHandler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= h.level.Level()
}

// Handle implements [slog.Handler].
func (h *LogHandler) Handle(ctx context.Context, r slog.Record) error {
	return h.handler().Handle(ctx, r)
}

// WithAttrs implements [slog.Handler].
func (h *LogHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &LogHandler{h.level, h.json, h.asText.WithAttrs(attrs), h.asJSON.WithAttrs(attrs)}
}

// WithGroup implements [slog.Handler].
func (h *LogHandler) WithGroup(name string) slog.Handler {
	return &LogHandler{h.level, h.json, h.asText.WithGroup(name), h.asJSON.WithGroup(name)}
}

package config

import (
	"io"
	"log/slog"
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

// Logger returns a logger that writes to w, and what its level is changed by.
func (c Log) Logger(w io.Writer) (*slog.Logger, *slog.LevelVar) {
	level := new(slog.LevelVar)
	level.Set(c.SlogLevel())
	o := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, o)), level
	}
	return slog.New(slog.NewTextHandler(w, o)), level
}

// SlogLevel is the level from which on there are lines.
func (c Log) SlogLevel() slog.Level { return logLevels[c.Level] }

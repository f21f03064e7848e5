package config_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	"gatehouse/server/config"
	"gatehouse/storage/storagetest/must"
)

// TestLogConfig writes a line of each level.
func TestLogConfig(t *testing.T) {
	for level, want := range map[string]string{"debug": "debug info warn error", "info": "info warn error", "warn": "warn error", "error": "error"} {
		for _, format := range []string{"text", "json"} {
			var b bytes.Buffer
			log, _ := config.Log{Level: level, Format: format}.Logger(&b)
			log.Debug("debug")
			log.Info("info")
			log.Warn("warn")
			log.Error("error")
			var got []string
			for line := range strings.Lines(b.String()) {
				var fields struct{ Msg string }
				if format == "json" {
					must.Do(t, json.Unmarshal([]byte(line), &fields))
				} else {
					fields.Msg = strings.TrimSpace(line[strings.Index(line, "msg=")+len("msg="):])
				}
				got = append(got, fields.Msg)
			}
			if s := strings.Join(got, " "); s != want {
				t.Errorf("%s as %s: got %q, want %q", level, format, s, want)
			}
		}
	}
}

// TestLogSet: the level and the format can be changed, also of a logger that was made from
// the first.
func TestLogSet(t *testing.T) {
	var b bytes.Buffer
	first, handler := config.Log{Level: "info", Format: "text"}.Logger(&b)
	for _, log := range []*slog.Logger{first, first.With("provider", "x"), first.WithGroup("g")} {
		handler.Set(config.Log{Level: "info", Format: "text"})
		log.Debug("unseen")
		log.Info("one", "n", 1)
		handler.Set(config.Log{Level: "debug", Format: "json"})
		log.Debug("two", "n", 2)
		handler.Set(config.Log{Level: "error", Format: "text"})
		log.Warn("unseen")
		got := b.String()
		b.Reset()
		if lines := strings.Split(got, "\n"); len(lines) != 3 || !strings.Contains(lines[0], "level=INFO msg=one") || !json.Valid([]byte(lines[1])) || !strings.Contains(lines[1], `"msg":"two"`) {
			t.Errorf("got %s", got)
		}
	}
}

// TestLogDurations: a duration has its unit in both formats, also in a group and a value
// that comes with the logger.
func TestLogDurations(t *testing.T) {
	for format, want := range map[string]string{"text": "lasted=1.5s step.took=2m0s step.waited=61ms step.slept=40µs", "json": `"lasted":"1.5s","step":{"took":"2m0s","waited":"61ms","slept":"40µs"}`} {
		var b bytes.Buffer
		log, _ := config.Log{Level: "info", Format: format}.Logger(&b)
		log.With("lasted", 1500*time.Millisecond).WithGroup("step").Info("done", "took", 2*time.Minute, "waited", 61_092_855*time.Nanosecond, "slept", 40*time.Microsecond)
		if !strings.Contains(b.String(), want) {
			t.Errorf("%s: got %s, want %s", format, &b, want)
		}
	}
}

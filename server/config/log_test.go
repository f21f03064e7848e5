package config_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"gatehouse/server/config"
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
					if err := json.Unmarshal([]byte(line), &fields); err != nil {
						t.Fatal(err)
					}
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

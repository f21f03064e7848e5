package config

import "testing"

func TestOneLetterOff(t *testing.T) {
	for scope, want := range map[string]bool{
		"flies": true, "file": true, "filess": true, "fils": true, "tiles": true, "Files": true, "FILE": true, "xfiles": true, "iles": true, "fiels": true,
		"": false, "fi": false, "fliess": false, "pipes": false, "selif": false, "files:read": false, "fleis": false,
	} {
		if got := oneLetterOff("files", scope); got != want || oneLetterOff(scope, "files") != want {
			t.Errorf("%q: got %t, want %t", scope, got, want)
		}
	}
	if !oneLetterOff("", "a") || oneLetterOff("", "ab") {
		t.Error("the empty text is one letter off from one letter alone")
	}
}

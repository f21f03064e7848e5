package manual_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"gatehouse/server/manual"
	"gatehouse/storage/storagetest/must"
)

// TestTopics: each file is a chapter with a title, and each topic has a file.
func TestTopics(t *testing.T) {
	list := must.Get(os.ReadDir("."))(t)
	var found []string
	for _, f := range list {
		if topic, ok := strings.CutSuffix(f.Name(), ".md"); ok {
			found = append(found, topic)
			if text, _ := manual.Chapter(topic); !strings.HasPrefix(text, "# "+manual.Title(topic)+"\n\n") {
				t.Errorf("%s does not begin with its title", f.Name())
			}
		}
	}
	topics := slices.Sorted(slices.Values(manual.Topics()))
	if !slices.Equal(found, topics) {
		t.Errorf("the files are %v, the topics %v", found, topics)
	}
	if _, ok := manual.Chapter("nonsense"); ok {
		t.Error("there is a chapter nonsense")
	}
}

package manual_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"gatehouse/server/manual"
	"gatehouse/storage/storagetest/must"
)

// The tests here are about the real program, built once.
var bin string

func TestMain(m *testing.M) {
	status, err := build(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		status = 1
	}
	os.Exit(status)
}

func build(m *testing.M) (status int, err error) {
	if bin, err = os.MkdirTemp("", "gatehouse"); err != nil {
		return 0, err
	}
	defer os.RemoveAll(bin)
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", bin, "gatehouse").CombinedOutput(); err != nil {
		return 0, fmt.Errorf("go build: %w\n%s", err, out)
	}
	return m.Run(), nil
}

// commands maps each command, such as "gatehouse token list", to the flags it takes. They
// come from the man pages, which the program makes from its commands.
var commands = sync.OnceValues(func() (map[string][]string, error) {
	dir, err := os.MkdirTemp("", "man")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if out, err := exec.Command(filepath.Join(bin, "gatehouse"), "manual", "--man", dir).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("gatehouse manual --man: %w\n%s", err, out)
	}
	pages, err := filepath.Glob(filepath.Join(dir, "*.1"))
	if err != nil {
		return nil, err
	}
	all := map[string][]string{}
	for _, page := range pages {
		b, err := os.ReadFile(page)
		if err != nil {
			return nil, err
		}
		name := strings.ReplaceAll(strings.TrimSuffix(filepath.Base(page), ".1"), "-", " ")
		_, options, _ := strings.Cut(string(b), "\n.SH OPTIONS\n")
		options, _, _ = strings.Cut(options, "\n.SH ")
		all[name] = []string{}
		for _, m := range regexp.MustCompile(`(?m)^(?:\\fB-\w\\fP, )?\\fB(--[a-z-]+)\\fP`).FindAllStringSubmatch(options, -1) {
			if m[1] != "--help" {
				all[name] = append(all[name], m[1])
			}
		}
	}
	return all, nil
})

// block is a fenced block of a chapter.
type block struct {
	file string
	line int // of the fence
	info string
	text string
}

// chapters are the files that people read: the README and the chapters.
func chapters(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{}
	readme := must.Get(os.ReadFile("../../README.md"))(t)
	files["README.md"] = string(readme)
	for _, topic := range manual.Topics() {
		files[topic+".md"], _ = manual.Chapter(topic)
	}
	return files
}

// blocks returns the fenced blocks of a file in order.
func blocks(file, text string) (list []block) {
	var b *block
	for n, line := range strings.Split(text, "\n") {
		fence, ok := strings.CutPrefix(line, "```")
		switch {
		case ok && b == nil:
			b = &block{file: file, line: n + 1, info: fence}
		case ok:
			list = append(list, *b)
			b = nil
		case b != nil:
			b.text += line + "\n"
		}
	}
	return list
}

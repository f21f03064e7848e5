package target

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// commandPath is where commands are found, and what they find others by.
const commandPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

const (
	commandTime = 10 * time.Second
	mostOutput  = 4 << 10 // bytes
)

// Command is a program that is run for each notice, with the JSON on its standard input.
// No shell is involved, and it gets nothing of the server's environment, which may hold
// secrets.
type Command struct {
	args []string
	time time.Duration
}

// NewCommand returns the command that a line of words names. The first word is the path of
// the program, or its name in the usual directories.
func NewCommand(line string) (*Command, error) {
	args := strings.Fields(line)
	if len(args) == 0 {
		return nil, errors.New("no program is named")
	}
	file := args[0]
	if !strings.Contains(file, "/") {
		for dir := range strings.SplitSeq(commandPath, ":") {
			if executable(dir+"/"+file) == nil {
				file = dir + "/" + file
				break
			}
		}
	}
	if !strings.HasPrefix(file, "/") {
		return nil, fmt.Errorf("%q is not in %s: write the whole path of the program", file, commandPath)
	}
	if err := executable(file); err != nil {
		return nil, err
	}
	args[0] = file
	return &Command{args, commandTime}, nil
}

func executable(file string) error {
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	if info.IsDir() || info.Mode()&0o111 == 0 {
		return fmt.Errorf("%s is not a program that can be run", file)
	}
	return nil
}

// Name implements [Target].
func (c *Command) Name() string { return NameCommand }

// Close implements [Target].
func (c *Command) Close() {}

// Deliver runs the command. An exit status of 0 says that it has taken the notice.
func (c *Command) Deliver(ctx context.Context, m Message) (answer string, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.time)
	defer cancel()
	var out limited
	cmd := exec.CommandContext(ctx, c.args[0], c.args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(append(m.JSON, '\n')), &out, &out
	cmd.Env, cmd.Dir = []string{"PATH=" + commandPath, "LANG=C.UTF-8"}, "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // also what it has started
	cmd.WaitDelay = time.Second
	err = cmd.Run()
	answer = strings.TrimSpace(string(out.kept))
	switch {
	case ctx.Err() != nil:
		err = fmt.Errorf("it did not end within %v", c.time)
	case err == nil || errors.Is(err, exec.ErrWaitDelay): // a program in the background has kept its output open
		if answer == "" {
			answer = "exit status 0"
		}
		return answer, nil
	}
	if answer != "" {
		err = fmt.Errorf("%w: %s", err, answer)
	}
	return "", err
}

// limited keeps the first mostOutput bytes. It does not embed the buffer, which would read
// all there is.
type limited struct{ kept []byte }

func (l *limited) Write(b []byte) (int, error) {
	l.kept = append(l.kept, b[:min(len(b), mostOutput-len(l.kept))]...)
	return len(b), nil
}

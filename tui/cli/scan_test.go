package cli

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"

	"gatehouse/server/api"
	"gatehouse/storage/storagetest/must"
)

// looksLike makes a text with the form of a token.
func looksLike(r *rand.Rand) string {
	b := make([]byte, 124)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return hex.EncodeToString(binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli)))
}

// hits returns what a finder finds: "line:token".
func hits(t testing.TB, r io.Reader) (all []string) {
	t.Helper()
	f := newFinder(func(line int, token string) error {
		all = append(all, fmt.Sprintf("%d:%s", line, token))
		return nil
	})
	must.Do(t, f.read(context.Background(), r))
	return all
}

func TestFinder(t *testing.T) {
	a := looksLike(rand.New(rand.NewPCG(1, 1)))
	for what, c := range map[string]struct {
		text string
		want int // the line; 0: nothing
	}{
		"alone":            {a, 1},
		"a line":           {"x\n\n" + a + "\n", 3},
		"CRLF":             {"x\r\n" + a + "\r\n", 2},
		"quoted":           {`token="` + a + `"`, 1},
		"between letters":  {"xyz" + a + "ghi", 1},
		"binary":           {"\x00\xff\n\x00" + a + "\x00", 2},
		"after many lines": {strings.Repeat("line\n", 100_000) + a, 100_001},
		"after a long run": {strings.Repeat("0", 1<<20) + " " + a, 1},
		"a digit before":   {"0" + a, 1},
		"in a URL":         {"GET /\n/?q=X-Auth-Token%3A%20" + a + "%0a", 2},
		"a digit after":    {a + "0", 1},
		"capital before":   {"%3D" + a, 1},
		"capital after":    {a + "F", 1},
		"in a long run":    {strings.Repeat("12", 1<<19) + a, 1},
		"at an odd digit":  {strings.Repeat("1", 1<<20+1) + a + "f", 1},
		"upper case":       {strings.ToUpper(a), 0},
		"broken":           {a[:100] + "\n" + a[100:], 0},
		"short":            {a[1:], 0},
		"changed":          {a[:9] + string("0123456789abcdef"[(strings.IndexByte("0123456789abcdef", a[9])+1)%16]) + a[10:], 0},
		"nothing":          {"", 0},
	} {
		for how, r := range map[string]io.Reader{"whole": strings.NewReader(c.text), "byte by byte": iotest.OneByteReader(strings.NewReader(c.text)), "with the end": iotest.DataErrReader(strings.NewReader(c.text))} {
			got := hits(t, r)
			if c.want == 0 && len(got) != 0 {
				t.Errorf("%s, %s: found %.60q", what, how, got)
			}
			if want := fmt.Sprintf("%d:%s", c.want, a); c.want != 0 && (len(got) != 1 || got[0] != want) {
				t.Errorf("%s, %s: got %.60q, want %.60q", what, how, got, want)
			}
		}
	}
}

// TestFinderBorders puts a token at every place around where the buffer ends.
func TestFinderBorders(t *testing.T) {
	a := looksLike(rand.New(rand.NewPCG(2, 2)))
	size := len(newFinder(nil).buf)
	for at := size - 2*tokenLen; at < size+tokenLen; at += 3 {
		for _, fill := range []byte{'\n', 'x'} {
			text := strings.Repeat(string(fill), at) + a + "\n" + a
			line := 1
			if fill == '\n' {
				line += at
			}
			want := []string{fmt.Sprintf("%d:%s", line, a), fmt.Sprintf("%d:%s", line+1, a)}
			if got := hits(t, strings.NewReader(text)); strings.Join(got, "|") != strings.Join(want, "|") {
				t.Fatalf("at %d: found %d", at, len(got))
			}
		}
		for _, digits := range []string{"1", "f0"} {
			text := strings.Repeat("x", at) + digits + a + a + digits
			if got := hits(t, strings.NewReader(text)); strings.Join(got, "|") != "1:"+a+"|1:"+a {
				t.Fatalf("at %d: found %d of 2 in a run", at, len(got))
			}
		}
	}
}

// FuzzFinder compares the finder with the obvious way.
func FuzzFinder(f *testing.F) {
	a := looksLike(rand.New(rand.NewPCG(3, 3)))
	f.Add([]byte(a), uint16(3))
	f.Add([]byte("x\n"+a+"\n"+a+"A"), uint16(300))
	f.Add([]byte("%20"+a+a+"0"+a), uint16(2))
	f.Fuzz(func(t *testing.T, text []byte, pad uint16) {
		text = append(bytes.Repeat([]byte("0"), int(pad)%1024), append([]byte("\n"), text...)...)
		var want []string
		for start := 0; start+tokenLen <= len(text); start++ {
			token := string(text[start : start+tokenLen])
			b, err := hex.DecodeString(token)
			if err == nil && token == strings.ToLower(token) && crc32.Checksum(b[:len(b)-crcLen], castagnoli) == binary.BigEndian.Uint32(b[len(b)-crcLen:]) {
				want = append(want, fmt.Sprintf("%d:%s", 1+bytes.Count(text[:start], []byte("\n")), token))
			}
		}
		for _, r := range []io.Reader{bytes.NewReader(text), iotest.HalfReader(bytes.NewReader(text))} {
			if got := hits(t, r); strings.Join(got, "|") != strings.Join(want, "|") {
				t.Fatalf("got %q, want %q", got, want)
			}
		}
	})
}

func BenchmarkFinder(b *testing.B) {
	for what, line := range map[string]string{
		"log":    "2026-03-01T12:00:00Z GET /api/token 200 0badcafe 17us\n",
		"digits": "0123456789abcdef",
	} {
		b.Run(what, func(b *testing.B) {
			text := bytes.Repeat([]byte(line), 1<<20/len(line))
			f := newFinder(func(int, string) error { return errors.New("found") })
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				must.Do(b, f.read(context.Background(), bytes.NewReader(text)))
			}
		})
	}
}

// knower answers that it made every text that begins with an even digit.
type knower struct {
	asked []int
	finds []api.Find
}

func (k *knower) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/admin/who":
		json.NewEncoder(w).Encode(api.Who{Role: api.Operator})
		return
	case "/admin/found":
		var in api.Finds
		json.NewDecoder(r.Body).Decode(&in)
		k.finds = append(k.finds, in.Finds...)
		json.NewEncoder(w).Encode(api.Revoked{Revoked: len(in.Finds)})
		return
	}
	var q api.Texts
	json.NewDecoder(r.Body).Decode(&q)
	k.asked = append(k.asked, len(q.Texts))
	var out api.Identified
	for _, text := range q.Texts {
		var s api.Sighting
		if strings.ContainsAny(text[:1], "02468ace") {
			s = api.Sighting{ID: text[:28], State: api.StateLive}
		}
		out.Tokens = append(out.Tokens, s)
	}
	json.NewEncoder(w).Encode(out)
}

// lay writes files beneath dir, and things that are not files beside them.
func lay(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		must.Do(t, os.MkdirAll(filepath.Dir(path), 0o700))
		must.Do(t, os.WriteFile(path, []byte(text), 0o600))
	}
	if err := errors.Join(os.Symlink(filepath.Join(dir, "a"), filepath.Join(dir, "sub", "link")), os.Symlink(dir, filepath.Join(dir, "sub", "loop")),
		syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600)); err != nil {
		t.Fatal(err)
	}
}

func TestScan(t *testing.T) {
	dir := t.TempDir()
	r := rand.New(rand.NewPCG(4, 4))
	ours := func() string {
		for {
			if a := looksLike(r); strings.ContainsAny(a[:1], "02468ace") {
				return a
			}
		}
	}
	a, b, c := ours(), ours(), ours()
	foreign := looksLike(r)
	for strings.ContainsAny(foreign[:1], "02468ace") {
		foreign = looksLike(r)
	}
	lay(t, dir, map[string]string{
		"a": "x\n" + a, "sub/b \x1b[31m": b[1:] + "\n" + b, "sub/deep/none": "nothing", "sub/foreign": foreign, "many": strings.Repeat(c+"\n", 250), "empty": "",
	})
	k := &knower{}
	var out, messages bytes.Buffer
	env := Env{Open: func(context.Context) (*api.Client, error) { return api.InProcess(k, func() error { return nil }), nil }, Out: &out, Err: &messages}
	scan := func(args ...string) error {
		out.Reset()
		messages.Reset()
		cmd := scanCommand(env)
		cmd.SetArgs(append([]string{}, args...)) // for nil it would take the test's own
		return cmd.ExecuteContext(t.Context())
	}
	if err := scan(dir); exitStatus(err) != statusFound || err.Error() != "found tokens that work in 252 places" || messages.Len() != 0 {
		t.Fatalf("got %v, %s", err, messages.String())
	}
	got := out.String()
	for _, want := range []string{dir + "/a:2 " + a[:28] + " live\n", dir + `/sub/b \x1b[31m:2 ` + b[:28] + " live\n", dir + "/many:250 " + c[:28] + " live\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing", want)
		}
	}
	if n := strings.Count(got, "\n"); n != 252 || strings.Contains(got, a[:30]) {
		t.Errorf("got %d lines, want 252, and no token:\n%.500s", n, got)
	}
	for _, n := range k.asked {
		if n > api.MaxTexts {
			t.Errorf("asked about %d at once", n)
		}
	}
	pipe, link, loop := filepath.Join(dir, "pipe"), filepath.Join(dir, "sub", "link"), filepath.Join(dir, "sub", "loop")
	go os.WriteFile(pipe, []byte(b), 0)
	err := scan(pipe, link, loop+"/sub", filepath.Join(dir, "empty")) // what is named is read, of every kind
	if want := fmt.Sprintf("%s:1 %s live\n%s:2 %s live\n%s/sub/b \\x1b[31m:2 %[2]s live\n", pipe, b[:28], link, a[:28], loop); exitStatus(err) != statusFound || out.String() != want {
		t.Errorf("got %v, %q, %q, want %q", err, out.String(), messages.String(), want)
	}
	if err = scan(loop); exitStatus(err) != statusFound || strings.Count(out.String(), "\n") != 252 || !strings.HasPrefix(out.String(), loop+"/a:2 ") {
		t.Errorf("a link to a directory: got %v, %.300q, %q", err, out.String(), messages.String())
	}
	if err = scan("/dev/null", filepath.Join(dir, "empty")); err != nil || out.Len() != 0 {
		t.Errorf("got %v, %q, %q", err, out.String(), messages.String())
	}
	err = scan(filepath.Join(dir, "no\x1bsuch"), filepath.Join(dir, "empty"))
	if exitStatus(err) != statusFailed || out.Len() != 0 {
		t.Errorf("got %v, %q, %q", err, out.String(), messages.String())
	}
	err = scan(filepath.Join(dir, "no\x1bsuch"), filepath.Join(dir, "a"))
	if exitStatus(err) != statusFound || !strings.Contains(messages.String(), `no\x1bsuch: no such file`) || !strings.Contains(out.String(), "/a:2 ") {
		t.Errorf("got %v, %q, %q", err, out.String(), messages.String())
	}
	if err := scan(); exitStatus(err) != statusUsage {
		t.Errorf("without a path: got %v", err)
	}
}

// TestScanRevokes: at a terminal, nothing is revoked before the answer. Each token is
// named once, with a place that is safe to show and not too long.
func TestScanRevokes(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	var tokens []string
	for len(tokens) < 2*api.MaxFinds {
		if a := looksLike(r); strings.ContainsAny(a[:1], "02468ace") {
			tokens = append(tokens, a)
		}
	}
	dir := t.TempDir()
	long := strings.Repeat("deep \x1b/", 40) + "end"
	lay(t, dir, map[string]string{long: strings.Join(tokens, "\n") + "\n" + strings.Join(tokens, "\n"), "sub/x": tokens[0], "a": ""})
	scan := func(terminal bool, answer string, args ...string) (*knower, string, error) {
		var out, messages bytes.Buffer
		k := &knower{}
		env := Env{Open: func(context.Context) (*api.Client, error) { return api.InProcess(k, func() error { return nil }), nil }, In: strings.NewReader(answer), Out: &out, Err: &messages}
		if terminal {
			env.Password = func(context.Context, string) (string, error) { panic("asked for a password") }
		}
		cmd := scanCommand(env)
		cmd.SetArgs(append(args, dir))
		err := cmd.ExecuteContext(t.Context())
		if n := strings.Count(out.String(), " live\n"); exitStatus(err) != statusUsage && n != 4*api.MaxFinds+1 {
			t.Errorf("%q: %d places are printed", args, n)
		}
		return k, messages.String(), err
	}
	for _, c := range []struct {
		terminal bool
		answer   string
		args     []string
		revoked  int
		status   int
		says     string
	}{
		{false, "", []string{"--revoke"}, len(tokens), statusFound, "Revoked 100 tokens."},
		{true, "y\n", []string{"--revoke"}, len(tokens), statusFound, "Revoke 100 tokens for good? [y/N] Revoked 100 tokens."},
		{true, "\n", []string{"--revoke"}, 0, statusFound, "Nothing was revoked."},
		{true, "", []string{"--revoke"}, 0, statusFound, "Nothing was revoked."},
		{true, "", []string{"--revoke", "--yes"}, len(tokens), statusFound, "Revoked 100 tokens."},
		{true, "y\n", nil, 0, statusFound, ""},
		{false, "", []string{"--yes"}, 0, statusUsage, ""},
	} {
		k, says, err := scan(c.terminal, c.answer, c.args...)
		if exitStatus(err) != c.status || len(k.finds) != c.revoked || !strings.Contains(says, c.says) {
			t.Errorf("%q, terminal %t, answer %q: got %v, %d revoked, %q", c.args, c.terminal, c.answer, err, len(k.finds), says)
		}
		for i, f := range k.finds {
			if len(f.Place) > api.MaxPlace || !strings.HasSuffix(f.Place, fmt.Sprintf("end:%d", i+1)) || !strings.HasPrefix(f.Place, "…") || !strings.Contains(f.Place, `deep \x1b/deep`) || f.Token != tokens[i] {
				t.Fatalf("got %q for token %d", f.Place, i)
			}
		}
	}
}

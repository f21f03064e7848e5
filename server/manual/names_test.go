package manual_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"

	"gatehouse/server/config"
	"gatehouse/server/manual"
	"gatehouse/storage/storagetest/must"
)

// code returns what a file shows as code: the lines of its blocks with commands, and the
// text between backquotes.
func code(file, text string) (list []string) {
	for _, b := range blocks(file, text) {
		if b.info == "console" || b.info == "sh" {
			for line := range strings.Lines(b.text) {
				if command, ok := strings.CutPrefix(line, "$ "); ok || b.info == "sh" {
					list = append(list, strings.TrimSpace(command))
				}
			}
		}
	}
	prose := regexp.MustCompile("(?s)```.*?\n```").ReplaceAllString(text, "")
	for _, m := range regexp.MustCompile("`([^`\n]+)`").FindAllStringSubmatch(prose, -1) {
		list = append(list, strings.ReplaceAll(m[1], `\|`, "|"))
	}
	return list
}

// TestNames: every command and flag that the manual names exists.
func TestNames(t *testing.T) {
	all := must.Get(commands())(t)
	every := map[string]bool{"--help": true}
	for _, flags := range all {
		for _, f := range flags {
			every[f] = true
		}
	}
	for file, text := range chapters(t) {
		for _, line := range code(file, text) {
			for _, fault := range faults(all, line) {
				t.Errorf("%s: `%s`: %s", file, line, fault)
			}
			if flag := regexp.MustCompile(`^--[a-z-]+`).FindString(line); flag != "" && !every[flag] {
				t.Errorf("%s: no command has the flag %s", file, flag)
			}
			for _, name := range regexp.MustCompile(`\bGATEHOUSE_[A-Z_]+`).FindAllString(line, -1) {
				if flag := "--" + strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(name, "GATEHOUSE_"), "_", "-")); !every[flag] {
					t.Errorf("%s: %s belongs to no flag", file, name)
				}
			}
		}
	}
}

// faults returns what is wrong with the commands of ours in a line.
func faults(all map[string][]string, line string) (list []string) {
	for _, part := range regexp.MustCompile(`[|;&(]+`).Split(line, -1) {
		_, args, ok := strings.Cut(part+" ", "gatehouse ")
		if !ok || strings.Contains(part, "/gatehouse ") && !strings.Contains(part, "./gatehouse ") || !regexp.MustCompile(`(^|[\s/])gatehouse `).MatchString(part+" ") {
			continue
		}
		name := "gatehouse"
		words := strings.Fields(strings.NewReplacer("[", " ", "]", " ").Replace(args))
		for len(words) > 0 && all[name+" "+words[0]] != nil {
			name, words = name+" "+words[0], words[1:]
		}
		group := slices.ContainsFunc(slices.Collect(maps.Keys(all)), func(c string) bool { return strings.HasPrefix(c, name+" ") })
		if len(words) > 0 && group && regexp.MustCompile(`^[a-z]+$`).MatchString(words[0]) {
			list = append(list, fmt.Sprintf("%s has no command %s", name, words[0]))
		}
		for _, w := range words {
			flag := regexp.MustCompile(`^--[a-z-]+`).FindString(w)
			if flag != "" && !slices.Contains(slices.Concat(all[name], []string{"--data", "--config", "--help", "--version"}), flag) {
				list = append(list, fmt.Sprintf("%s has no flag %s", name, flag))
			}
		}
	}
	return list
}

// TestCommandsNamed: the chapter about the commands has each command, in one row with all
// its flags.
func TestCommandsNamed(t *testing.T) {
	all := must.Get(commands())(t)
	chapter, _ := manual.Chapter("commands")
	for name, flags := range all {
		if group := slices.ContainsFunc(slices.Collect(maps.Keys(all)), func(c string) bool { return strings.HasPrefix(c, name+" ") }); group {
			continue
		}
		var rows strings.Builder
		for line := range strings.Lines(chapter) {
			if regexp.MustCompile("`" + name + "[ `]").MatchString(line) {
				rows.WriteString(line)
			}
		}
		if strings.Contains(rows.String(), "](#filters)") { // which are listed once
			_, section, _ := strings.Cut(chapter, "\n## Filters\n")
			section, _, _ = strings.Cut(section, "\n## ")
			rows.WriteString(section)
		}
		if rows.Len() == 0 {
			t.Errorf("%s is not named", name)
		}
		for _, f := range flags {
			if !regexp.MustCompile(f + `\b`).MatchString(rows.String()) {
				t.Errorf("%s is not named with its flag %s", name, f)
			}
		}
	}
}

// TestSettingsNamed: every setting is in a block of settings. TestConfiguration checks
// that the settings there exist.
func TestSettingsNamed(t *testing.T) {
	shown := map[string]bool{}
	var note func(prefix string, table map[string]any)
	note = func(prefix string, table map[string]any) {
		for key, value := range table {
			if inner, ok := value.(map[string]any); ok {
				note(prefix+key+".", inner) // and admin.groups is a setting itself
			}
			shown[regexp.MustCompile(`^oauth\.[a-z]+\.`).ReplaceAllString(prefix, "oauth.<name>.")+key] = true
		}
	}
	for file, text := range chapters(t) {
		for _, b := range blocks(file, text) {
			if b.info != "toml" {
				continue
			}
			var table map[string]any
			if err := toml.Unmarshal([]byte(b.text), &table); err != nil {
				t.Errorf("%s:%d: %v", b.file, b.line, err)
			}
			note("", table)
		}
	}
	settings := map[string]bool{}
	var look func(prefix string, s reflect.Type)
	look = func(prefix string, s reflect.Type) {
		for i := range s.NumField() {
			f := s.Field(i)
			name, ok := f.Tag.Lookup("toml")
			kind := f.Type
			if kind.Kind() == reflect.Pointer {
				kind = kind.Elem()
			}
			switch {
			case !ok:
			case kind.Kind() == reflect.Map && kind.Elem().Kind() == reflect.Struct:
				look(prefix+name+".<name>.", kind.Elem())
			case kind.Kind() == reflect.Struct && kind.NumField() > 0 && kind.Field(0).Tag.Get("toml") != "":
				look(prefix+name+".", kind)
			default:
				settings[prefix+name] = true
			}
		}
	}
	look("", reflect.TypeFor[config.Config]())
	if len(settings) < 40 {
		t.Errorf("only %d settings are found", len(settings))
	}
	for name := range settings {
		if !shown[name] {
			t.Errorf("no block shows the setting %s", name)
		}
	}
	sections := map[string]bool{}
	for name := range settings {
		if section, _, ok := strings.Cut(name, "."); ok {
			sections[section] = true
		}
	}
	for file, text := range chapters(t) { // in prose they are written tokens.reveal
		if file == "reference.md" {
			continue // where tokens.revoke is an event
		}
		for _, name := range code(file, text) {
			section, _, ok := strings.Cut(name, ".")
			if ok && sections[section] && regexp.MustCompile(`^[a-z_.]+$`).MatchString(name) && !settings[name] && !strings.HasSuffix(name, ".md") {
				t.Errorf("%s: there is no setting %s", file, name)
			}
		}
	}
}

// first returns what the first column of each table below a heading names.
func first(t *testing.T, topic, heading string) []string {
	t.Helper()
	chapter, _ := manual.Chapter(topic)
	_, section, ok := strings.Cut(chapter, "\n## "+heading+"\n")
	if !ok {
		t.Fatalf("%s has no section %q", topic, heading)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	var names []string
	for line := range strings.Lines(section) {
		if cell, ok := strings.CutPrefix(line, "| `"); ok {
			cell, _, _ = strings.Cut(cell, " | ")
			for _, m := range regexp.MustCompile("`?([^` ·]+)`").FindAllStringSubmatch(cell, -1) {
				names = append(names, m[1])
			}
		}
	}
	slices.Sort(names)
	return names
}

// same compares what a table names with what there is.
func same(t *testing.T, what string, named, exist []string) {
	t.Helper()
	slices.Sort(exist)
	exist = slices.Compact(exist)
	for _, name := range named {
		if !slices.Contains(exist, name) {
			t.Errorf("there is no %s %s", what, name)
		}
	}
	for _, name := range exist {
		if !slices.Contains(named, name) {
			t.Errorf("the %s %s is not named", what, name)
		}
	}
	if len(exist) == 0 {
		t.Errorf("no %s is found", what)
	}
}

// literals returns the strings of Go files that match the pattern.
func literals(t *testing.T, root, pattern string) (list []string) {
	t.Helper()
	match := regexp.MustCompile(pattern)
	inSource(t, root, func(_ string, n ast.Node) {
		if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING {
			if s, err := strconv.Unquote(l.Value); err == nil && match.MatchString(s) {
				list = append(list, s)
			}
		}
	})
	return list
}

// inSource calls fn with each node of the Go files below root that are not tests.
func inSource(t *testing.T, root string, fn func(path string, n ast.Node)) {
	t.Helper()
	must.Do(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(f, func(n ast.Node) bool {
			fn(path, n)
			return true
		})
		return nil
	}))
}

// TestEventsNamed: the reference lists each action of the audit log.
func TestEventsNamed(t *testing.T) {
	var actions []string
	inSource(t, "../../storage", func(_ string, n ast.Node) {
		v, ok := n.(*ast.ValueSpec)
		if !ok || len(v.Values) == 0 || !strings.HasPrefix(v.Names[0].Name, "Action") {
			return
		}
		if l, ok := v.Values[0].(*ast.BasicLit); ok {
			if s, err := strconv.Unquote(l.Value); err == nil {
				actions = append(actions, s)
			}
		}
	})
	same(t, "action", first(t, "reference", "Events"), actions)
}

// TestScopesNamed: the reference lists each scope that Gatehouse itself asks for. The
// error about an unknown scope lists them.
func TestScopesNamed(t *testing.T) {
	_, err := config.Tokens{KnownScopes: []string{"another"}}.CheckScopes([]string{"zzzzzz"})
	if err == nil {
		t.Fatal("an unknown scope is taken")
	}
	_, list, _ := strings.Cut(err.Error(), "there are ")
	scopes := slices.DeleteFunc(strings.Split(list, ", "), func(s string) bool { return s == "another" })
	same(t, "scope", first(t, "reference", "Scopes"), scopes)
}

// TestMetricsNamed: the reference lists each metric of ours, and a server shows them.
func TestMetricsNamed(t *testing.T) {
	named := first(t, "reference", "Metrics")
	same(t, "metric", named, literals(t, "..", `^gatehouse_[a-z_]+$`))

	s := newSession(t)
	s.tell("gatehouse serve >server.log 2>&1 </dev/null &")
	var url string
	for url == "" {
		b, _ := os.ReadFile(s.shell.Dir + "/server.log")
		if m := regexp.MustCompile(`msg=listening url=(\S+)`).FindSubmatch(b); m != nil {
			url = string(m[1])
		}
	}
	resp := must.Get(http.Get(url + "/metrics"))(t)
	defer resp.Body.Close()
	body := new(strings.Builder)
	must.Do(t, resp.Write(body))
	shown := 0
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (gatehouse_\S+)`).FindAllStringSubmatch(body.String(), -1) {
		shown++
		if !slices.Contains(named, m[1]) {
			t.Errorf("the server shows %s, which is not named", m[1])
		}
	}
	if shown == 0 {
		t.Errorf("no metrics are shown:\n%s", body)
	}
}

// TestRoutesNamed: the chapter about the API lists each URL that programs call.
func TestRoutesNamed(t *testing.T) {
	b := must.Get(os.ReadFile("../openapi.json"))(t)
	chapter, _ := manual.Chapter("api")
	for _, m := range regexp.MustCompile(`(?m)^    "(/[^"]*)": \{`).FindAllStringSubmatch(string(b), -1) {
		path := strings.NewReplacer("{", "<", "}", ">").Replace(m[1])
		if !regexp.MustCompile(regexp.QuoteMeta(path) + "[`?]").MatchString(chapter) {
			t.Errorf("%s is not named", path)
		}
	}
}

// TestErrorsNamed: the chapter about troubles has each message of the API, with a row in
// its table of errors.
func TestErrorsNamed(t *testing.T) {
	chapter, _ := manual.Chapter("troubleshooting")
	own := map[string]string{} // the texts of errors, by name
	rows := map[string]string{}
	for _, file := range []string{"../../storage/types.go", "../../storage/read/read.go", "../reply/errors.go", "../oauth/oauth.go", "../oauth/login.go", "../../ldap/ldap.go"} {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			continue // the texts of the rows are found all the same, or the row fails below
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.ValueSpec:
				for i, v := range n.Values {
					if call, ok := v.(*ast.CallExpr); ok && len(call.Args) == 1 {
						if l, ok := call.Args[0].(*ast.BasicLit); ok {
							own[n.Names[i].Name], _ = strconv.Unquote(l.Value)
						}
					}
				}
			case *ast.CompositeLit:
				if len(n.Elts) == 3 {
					name := ""
					switch e := n.Elts[0].(type) {
					case *ast.SelectorExpr:
						name = e.Sel.Name
					case *ast.Ident:
						name = e.Name
					}
					if l, ok := n.Elts[2].(*ast.BasicLit); ok && name != "" {
						rows[name], _ = strconv.Unquote(l.Value)
					}
				}
			}
			return true
		})
	}
	if len(rows) < 20 {
		t.Fatalf("only %d errors are found", len(rows))
	}
	for name, message := range rows {
		if message == "" {
			message = own[name]
		}
		if name == "ErrCredentials" {
			message = "Credentials required"
		}
		if message == "" || !strings.Contains(strings.ToLower(chapter), strings.ToLower(message)) {
			t.Errorf("%s is not named: %q", name, message)
		}
	}
}

// TestRefusalsNamed: the chapter about troubles has each message of reply.Refuse, with …
// for what varies.
func TestRefusalsNamed(t *testing.T) {
	plain := strings.NewReplacer("`", "", `\|`, "|")
	chapter, _ := manual.Chapter("troubleshooting")
	chapter = strings.ToLower(plain.Replace(chapter))
	found := 0
	inSource(t, "..", func(path string, n ast.Node) {
		call, ok := n.(*ast.CallExpr)
		if !ok || len(call.Args) < 2 {
			return
		}
		switch name := call.Fun.(type) {
		case *ast.SelectorExpr:
			ok = name.Sel.Name == "Refuse"
		case *ast.Ident:
			ok = name.Name == "Refuse"
		default:
			ok = false
		}
		l, literal := call.Args[1].(*ast.BasicLit)
		if !ok || !literal {
			return
		}
		s := must.Get(strconv.Unquote(l.Value))(t)
		said := regexp.MustCompile(`%[sdv]`).ReplaceAllString(strings.ReplaceAll(s, "%q", `"…"`), "…")
		said = strings.ReplaceAll(said, "%%", "%")
		if !regexp.MustCompile(`[a-z]{2,}.* [a-z]{2,}`).MatchString(said) {
			return // the value of a field, and what another package says about it
		}
		found++
		if !strings.Contains(chapter, strings.ToLower(plain.Replace(said))) {
			t.Errorf("%s: %q is not named", path, said)
		}
	})
	if found < 40 {
		t.Errorf("only %d messages are found", found)
	}
}

// TestLinks: every link in the README and in the chapters leads to a file and a heading
// that exist.
func TestLinks(t *testing.T) {
	for file, text := range chapters(t) {
		dir := "."
		if file == "README.md" {
			dir = "../.."
		}
		for _, m := range regexp.MustCompile(`\]\(([^)]+)\)`).FindAllStringSubmatch(text, -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			path, anchor, _ := strings.Cut(m[1], "#")
			target := text
			if path != "" {
				b, err := os.ReadFile(filepath.Join(dir, path))
				if err != nil {
					t.Errorf("%s: %v", file, err)
					continue
				}
				target = string(b)
			}
			if anchor != "" && !slices.Contains(anchors(target), anchor) {
				t.Errorf("%s links to %s, where there is no such heading", file, m[1])
			}
		}
	}
}

// anchors are the names of a file's headings, as GitHub makes them.
func anchors(text string) (list []string) {
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(text, -1) {
		slug := regexp.MustCompile(`[^a-z0-9 _-]`).ReplaceAllString(strings.ToLower(m[1]), "")
		list = append(list, strings.ReplaceAll(slug, " ", "-"))
	}
	return list
}

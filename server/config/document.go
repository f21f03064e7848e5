package config

import (
	"cmp"
	"encoding"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// document is a configuration file as it was written. It knows the line of each key,
// so that each error, found by the decoder or later, is reported with file, line and
// key.
type document struct {
	file  string
	lines map[string]int // of keys and sections, by their full names such as ldap.urls

	unknown faults // keys that do not exist
	decoded bool   // all the others were read
}

// fault is what is wrong with a setting. Packages ldap and oauth have their own type
// Fault; its method Setting names the key in the same way.
type fault struct {
	setting string
	err     error
}

func (f *fault) Error() string   { return f.setting + ": " + f.err.Error() }
func (f *fault) Unwrap() error   { return f.err }
func (f *fault) Setting() string { return f.setting }

// faults are all the errors found, in order.
type faults []error

func (f *faults) add(setting, format string, args ...any) {
	*f = append(*f, &fault{setting, fmt.Errorf(format, args...)})
}

// join adds the errors of another check, one or several.
func (f *faults) join(err error) {
	if all, ok := err.(interface{ Unwrap() []error }); ok {
		for _, one := range all.Unwrap() {
			f.join(one)
		}
	} else if err != nil {
		*f = append(*f, err)
	}
}

// once returns the faults without those that two checks found.
func (f faults) once() faults {
	told := map[string]bool{}
	return slices.DeleteFunc(f, func(err error) bool {
		text := err.Error()
		defer func() { told[text] = true }()
		return told[text]
	})
}

// readDocument finds the lines of all keys, and the unknown keys, among them keys in
// another case (which TOML tells apart, but the decoder does not). It refuses a file with
// such a key, or with a value of another type than the field of c, a pointer to a struct:
// the decoder would accept the key, and would stop at the value, so that everything after it
// would seem to be missing.
func readDocument(file string, text []byte, c any) (*document, error) {
	d := &document{file: file, lines: map[string]int{}}
	if err := toml.Unmarshal(text, new(map[string]any)); err != nil {
		return d, d.decodeError(err)
	}
	r := &reading{document: d}
	r.parser.Reset(text)
	root := reflect.TypeOf(c).Elem()
	section, path := root, ""
	for r.parser.NextExpression() {
		switch n := r.parser.Expression(); n.Kind {
		case unstable.ArrayTable:
			section, path = r.descend(root, "", n.Key())
			if section != nil {
				r.wrong(path, "is not a list of sections: write [%s]", path)
			}
			section = nil // its keys are not looked at
		case unstable.Table:
			section, path = r.descend(root, "", n.Key())
			if section != nil && !isSection(section) {
				r.wrong(path, "is not a section: %s", wanted(section))
				section = nil
			}
		case unstable.KeyValue:
			if section != nil {
				r.keyValue(section, path, n)
			}
		}
	}
	for _, err := range r.found {
		if u, ok := errors.AsType[*unknownKey](err); !ok || u.known { // the decoder would read a key in another case
			return d, d.place(errors.Join(r.found...))
		}
	}
	d.unknown = r.found
	return d, nil
}

// decodeError places an error of the decoder.
func (d *document) decodeError(err error) error {
	wrong, ok := errors.AsType[*toml.DecodeError](err)
	if !ok {
		return d.place(err)
	}
	line, _ := wrong.Position()
	text := strings.TrimPrefix(wrong.Error(), "toml: ")
	if k := strings.Join(wrong.Key(), "."); k != "" {
		text = k + ": " + text
	}
	return fmt.Errorf("%s: line %d: %s", d.file, line, text)
}

// placed is an error with file and lines. It wraps the error without them.
type placed struct {
	text string
	err  error
}

func (p *placed) Error() string { return p.text }
func (p *placed) Unwrap() error { return p.err }

// place adds the file and the line to an error, or to each of the errors joined in it, in
// the order of the lines. Without a document, it returns err as it is.
func (d *document) place(err error) error {
	if d == nil || err == nil {
		return err
	}
	var list faults
	list.join(err)
	slices.SortStableFunc(list, func(one, other error) int { return cmp.Compare(d.line(one), d.line(other)) })
	texts := make([]string, len(list))
	for i, e := range list {
		texts[i] = e.Error()
		if line := d.line(e); line > 0 {
			texts[i] = fmt.Sprintf("line %d: %s", line, texts[i])
		}
	}
	return &placed{d.file + ": " + strings.Join(texts, "; "), err}
}

// line returns the line of the setting that an error is about, or else of its section. It
// is 0 if the error names no setting, or one that the file does not have.
func (d *document) line(err error) int {
	of := (interface{ Setting() string })(nil)
	if !errors.As(err, &of) {
		return 0
	}
	for key := of.Setting(); key != ""; key = key[:max(strings.LastIndexByte(key, '.'), 0)] {
		if line := d.lines[key]; line > 0 {
			return line
		}
	}
	return 0
}

// reading is one walk through a document.
type reading struct {
	*document
	parser unstable.Parser
	found  faults
}

func (r *reading) wrong(setting, format string, args ...any) { r.found.add(setting, format, args...) }

// descend follows a key, beginning in a section, to the type and the full name of what
// it names, and remembers its line. The type is nil when there is no such key.
func (r *reading) descend(in reflect.Type, path string, key unstable.Iterator) (reflect.Type, string) {
	for key.Next() {
		n := key.Node()
		name := cmp.Or(string(n.Data), `""`)
		path = strings.TrimPrefix(path+"."+name, ".")
		if r.lines[path] == 0 {
			r.lines[path] = r.parser.Shape(n.Raw).Start.Line
		}
		if !isSection(in) {
			r.wrong(path, "%s has no keys below it: %s", strings.TrimSuffix(path, "."+name), wanted(in))
			return nil, path
		}
		next, right := child(in, name)
		if next == nil {
			r.found = append(r.found, &unknownKey{path, strings.TrimSuffix(path, name) + right, right != ""})
			return nil, path
		}
		in = next
	}
	return in, path
}

// unknownKey is the fault of a key that does not exist.
type unknownKey struct {
	key, right string
	known      bool // right is a key that exists, and differs from key only in case
}

func (u *unknownKey) Setting() string { return u.key }

func (u *unknownKey) Error() string {
	if u.known {
		return fmt.Sprintf("unknown key %s: write %s", u.key, u.right)
	}
	return "unknown key " + u.key
}

func (r *reading) keyValue(section reflect.Type, path string, n *unstable.Node) {
	t, path := r.descend(section, path, n.Key())
	if t == nil {
		return
	}
	value := n.Value()
	switch {
	case isSection(t) && value.Kind == unstable.InlineTable:
		for each := value.Children(); each.Next(); {
			r.keyValue(t, path, each.Node())
		}
	case isSection(t):
		r.wrong(path, "is a section: write [%s]", path)
	case t.Kind() == reflect.Slice && value.Kind == unstable.Array:
		for each := value.Children(); each.Next(); {
			r.list(t.Elem(), path, each.Node())
		}
	default:
		r.value(t, path, value)
	}
}

// list checks an element of a list, which may be on a line of its own.
func (r *reading) list(t reflect.Type, path string, n *unstable.Node) {
	before := len(r.found)
	r.value(t, path, n)
	if len(r.found) > before && n.Raw.Length > 0 {
		r.lines[path] = r.parser.Shape(n.Raw).Start.Line
	}
}

func (r *reading) value(t reflect.Type, path string, n *unstable.Node) {
	if text, ok := reflect.New(t).Interface().(encoding.TextUnmarshaler); ok {
		_, prefix := text.(*netip.Prefix)
		err := text.UnmarshalText(n.Data)
		switch {
		case err != nil && prefix:
			r.wrong(path, "%q is not a range of addresses such as 10.0.0.0/8 or 127.0.0.1/32", n.Data)
		case err != nil:
			r.wrong(path, "%w", err)
		case n.Kind != unstable.String:
			r.wrong(path, "%s", wanted(t))
		}
		return
	}
	kinds := map[reflect.Kind]unstable.Kind{reflect.String: unstable.String, reflect.Bool: unstable.Bool, reflect.Int: unstable.Integer}
	if kinds[t.Kind()] != n.Kind {
		r.wrong(path, "%s", wanted(t))
	}
}

// wanted says what to write for a value of a type.
func wanted(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "write true or false"
	case reflect.Int:
		return "write a whole number"
	case reflect.Slice:
		return `write a list of strings, such as ["one", "two"]`
	}
	return "write a string in quotes"
}

// isSection reports whether a type has keys of its own.
func isSection(t reflect.Type) bool {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.Kind() == reflect.Map || t.Kind() == reflect.Struct && !reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

// child returns the type of the key name in a section. If there is none, it returns the
// right name of a key that differs only in case, if there is one.
func child(section reflect.Type, name string) (t reflect.Type, right string) {
	if section.Kind() == reflect.Pointer {
		section = section.Elem()
	}
	if section.Kind() == reflect.Map {
		return section.Elem(), name
	}
	for i := range section.NumField() {
		f := section.Field(i)
		called := f.Tag.Get("toml")
		switch {
		case called == "":
		case called == name:
			return f.Type, name
		case strings.EqualFold(called, name):
			right = called
		}
	}
	return nil, right
}

package ldap

import (
	"bytes"
	"encoding/base64"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	ber "github.com/go-asn1-ber/asn1-ber"
	goldap "github.com/go-ldap/ldap/v3"

	"gatehouse/storage/storagetest/must"
)

// readLDIF reads the entries of a file, as a server would send them.
func readLDIF(t testing.TB, path string) []*goldap.Entry {
	t.Helper()
	b := must.Get(os.ReadFile(path))(t)
	var entries []*goldap.Entry
	for block := range strings.SplitSeq(string(b), "\n\n") {
		e := new(goldap.Entry)
		for line := range strings.Lines(block) {
			name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
			if !ok || strings.HasPrefix(line, "#") {
				continue
			}
			if name, ok = strings.CutSuffix(name, ":"); ok {
				raw := must.Get(base64.StdEncoding.DecodeString(value))(t)
				value = string(raw)
			}
			if name == "dn" {
				e.DN = value
				continue
			}
			e.Attributes = append(e.Attributes, goldap.NewEntryAttribute(name, []string{value}))
		}
		if e.DN != "" {
			entries = append(entries, e)
		}
	}
	return entries
}

// TestActiveDirectory reads entries in the form in which Active Directory sends them.
func TestActiveDirectory(t *testing.T) {
	c := Config{UIDAttribute: "userPrincipalName", IDAttribute: "objectGUID"}
	now := time.Date(2025, 6, 1, 12, 0, 0, 0, time.UTC)
	want := map[string]Entry{
		"Ann Active":     {Subject: "3f2504e0-4f89-41d3-9a0c-0305e82c3301", UID: "ann@corp.example", Name: "Ann Active"},
		"Dan Disabled":   {Subject: "3f2504e0-4f89-41d3-9a0c-0305e82c3302", UID: "dan@corp.example", Name: "Dan Disabled", Stops: []Stop{{Reason: ReasonDisabled, Detail: "userAccountControl 514"}}},
		"Lou Locked":     {Subject: "3f2504e0-4f89-41d3-9a0c-0305e82c3303", UID: "lou@corp.example", Name: "Lou Locked", Stops: []Stop{{Reason: ReasonLocked, Detail: "msDS-User-Account-Control-Computed 16"}}},
		"Lea Unlocked":   {Subject: "3f2504e0-4f89-41d3-9a0c-0305e82c3304", UID: "lea@corp.example", Name: "Lea Unlocked"},
		"Len Locked":     {Subject: "3f2504e0-4f89-41d3-9a0c-0305e82c3305", UID: "len@corp.example", Name: "Len Locked", Stops: []Stop{{Reason: ReasonLocked, Detail: "lockoutTime 133932384000000000", open: true}}},
		"Eve Expired":    {Subject: "3f2504e0-4f89-41d3-9a0c-0305e82c3306", UID: "eve@corp.example", Name: "Eve Expired", Stops: []Stop{{Reason: ReasonExpired, Detail: "accountExpires 132223104000000000"}}},
		"Fay Future":     {Subject: "3f2504e0-4f89-41d3-9a0c-0305e82c3307", UID: "fay@corp.example", Name: "Fay Future"},
		"Zoë O'Hara (X)": {Subject: "00000000-0000-0000-0000-0000000000ff", UID: "zoe@corp.example", Name: "Zoë O'Hara (X)"},
		"Pat Password":   {Subject: "3f2504e0-4f89-41d3-9a0c-0305e82c3308", UID: "pat@corp.example", Name: "Pat Password", Stops: []Stop{{Reason: ReasonPasswordExpired, Detail: "msDS-User-Account-Control-Computed 8388608"}}},
		"No Mail":        {Subject: "3f2504e0-4f89-41d3-9a0c-0305e82c3309", Name: "No Mail"},
	}
	for _, from := range readLDIF(t, "../testdata/ldap/active-directory.ldif") {
		got := c.entry(from, now)
		name := from.GetAttributeValue("cn")
		w := want[name]
		w.DN = from.DN
		if w.UID != "" {
			w.Addresses = []string{w.UID}
		}
		if !reflect.DeepEqual(got, w) {
			t.Errorf("%s:\n got %+v\nwant %+v", name, got, w)
		}
		delete(want, name)
	}
	for name := range want {
		t.Errorf("%s is not in the file", name)
	}
}

// TestNamesOfPeople: a name that is text stays as it is. How it is shown is decided
// elsewhere.
func TestNamesOfPeople(t *testing.T) {
	c := Config{UIDAttribute: "mail", IDAttribute: "entryUUID"}
	for _, x := range []struct{ display, common, want string }{
		{"Ada Lovelace", "ada", "Ada Lovelace"},
		{" ", "ada", "ada"},
		{"", "", ""},
		{"\xff", "ada", "ada"},
		{"نرگس می\u200cخواهد", "x", "نرگس می\u200cخواهد"},
		{"\u202eAda", "x", "\u202eAda"},
	} {
		from := goldap.NewEntry("cn=x", map[string][]string{"displayName": {x.display}, "cn": {x.common}})
		if got := c.entry(from, time.Time{}).Name; got != x.want {
			t.Errorf("%+q, %+q: got %+q, want %+q", x.display, x.common, got, x.want)
		}
	}
}

func TestSubject(t *testing.T) {
	for _, test := range []struct {
		attribute string
		values    []string
		want      string // empty: an error
	}{
		{"entryUUID", []string{"EEE1FA86-7A8D-1041-9AF5-335988DB20B8"}, "eee1fa86-7a8d-1041-9af5-335988db20b8"},
		{"ipaUniqueID", []string{"EEE1FA86-7A8D-1041-9AF5-335988DB20B8"}, "eee1fa86-7a8d-1041-9af5-335988db20b8"},
		{"nsUniqueId", []string{"66446001-1dd211b2-66225011-2ee211db"}, "66446001-1dd211b2-66225011-2ee211db"},
		{"employeeNumber", []string{"A-17"}, "A-17"},
		{"objectguid", []string{"0123456789abcdef"}, "33323130-3534-3736-3839-616263646566"},
		{"objectGUID", []string{"short"}, ""},
		{"objectGUID", []string{""}, ""},
		{"entryUUID", nil, ""},
		{"entryUUID", []string{"a", "b"}, ""},
		{"entryUUID", []string{""}, ""},
		{"objectSid", []string{"\x01\x05\x00\x00"}, ""},
		{"employeeNumber", []string{strings.Repeat("1", 257)}, ""},
	} {
		var raw [][]byte
		for _, v := range test.values {
			raw = append(raw, []byte(v))
		}
		if got, err := subject(test.attribute, raw); got != test.want || (err == nil) != (test.want != "") {
			t.Errorf("%s %q: got %q, %v, want %q", test.attribute, test.values, got, err, test.want)
		}
	}
}

func FuzzGUID(f *testing.F) {
	f.Add([]byte("0123456789abcdef"))
	f.Add(make([]byte, 16))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		text, err := guidText(raw)
		if (err == nil) != (len(raw) == 16) {
			t.Fatalf("%x: %v", raw, err)
		}
		if err != nil {
			return
		}
		if back, err := guidBytes(text); err != nil || !bytes.Equal(back, raw) {
			t.Errorf("%x became %s and then %x, %v", raw, text, back, err)
		}
		filter := must.Get(subjectFilter("objectGUID", text))(t)
		p, err := goldap.CompileFilter(filter)
		if err != nil || p.Tag != goldap.FilterEqualityMatch || !bytes.Equal(p.Children[1].Data.Bytes(), raw) {
			t.Errorf("%x: %s does not compare with it: %v", raw, filter, err)
		}
	})
}

// FuzzSubjectFilter: a stored subject only ever becomes a value of the filter.
func FuzzSubjectFilter(f *testing.F) {
	f.Add("entryUUID", "eee1fa86-7a8d-1041-9af5-335988db20b8")
	f.Add("objectGUID", "eee1fa86-7a8d-1041-9af5-335988db20b8")
	f.Add("employeeNumber", "*)(uid=*")
	f.Fuzz(func(t *testing.T, attribute, text string) {
		if attribute != "entryUUID" && attribute != "objectGUID" {
			attribute = "employeeNumber"
		}
		filter, err := subjectFilter(attribute, text)
		if err != nil {
			return
		}
		p, err := goldap.CompileFilter(filter)
		if err != nil || p.Tag != goldap.FilterEqualityMatch || p.Children[0].Data.String() != attribute {
			t.Fatalf("%q: %s: %v", text, filter, err)
		}
		if got := p.Children[1].Data.String(); attribute != "objectGUID" && got != text {
			t.Errorf("compares with %q, want %q", got, text)
		}
	})
}

// FuzzNameFilter: a typed name changes nothing in a filter but its values.
func FuzzNameFilter(f *testing.F) {
	for _, name := range hostileNames() {
		if len(name) < 300 {
			f.Add(name)
		}
	}
	const filter = "(&(objectClass=person)(|(uid={username})(mail={username}@example.org)(!(cn={username}))))"
	f.Fuzz(func(t *testing.T, name string) {
		if !validName(name) {
			return
		}
		if !utf8.ValidString(name) || len(name) > maxName || strings.ContainsAny(name, "\x00\r\n\x1b\x7f\u200b\u202e") {
			t.Fatalf("%q passed for a name", name)
		}
		p := must.Get(goldap.CompileFilter(nameFilter(filter, name)))(t)
		either := p.Children[1].Children
		leaf := func(p *ber.Packet) string { return p.Children[0].Data.String() + "=" + p.Children[1].Data.String() }
		if len(p.Children) != 2 || len(either) != 3 || either[2].Tag != goldap.FilterNot ||
			leaf(either[0]) != "uid="+name || leaf(either[1]) != "mail="+name+"@example.org" || leaf(either[2].Children[0]) != "cn="+name {
			t.Errorf("%q: the filter became another one", name)
		}
	})
}

func FuzzGeneralizedTime(f *testing.F) {
	f.Add("20250601115959Z")
	f.Add("000001010000Z")
	f.Add("2025060111,5+0200")
	f.Fuzz(func(t *testing.T, s string) { generalizedTime(s) })
}

package record

import (
	"bytes"
	"encoding/json"
	"math"
	"net/netip"
	"reflect"
	"testing"

	"gatehouse/storage/keys"
	"gatehouse/storage/storagetest/must"
)

// awkward are tokens whose JSON is hard to read.
var awkward = []Token{
	{},
	{LastUsed: math.MaxInt64, From: "2001:db8::1%eth0", Order: math.MaxUint16, Overlap: math.MinInt64},
	{Name: `"quoted" \ <b> & 🗝️ ä` + "\u2028\x00\x1f\x7f\ufffd", By: "ada@example.com", LastUsed: -1},
	{Name: "not UTF-8: \xff\xc0", Scopes: []string{"", "deploy", "a,b]}"}},
	{Name: `}`, By: `"`, Scopes: []string{`\`}, Addresses: []netip.Prefix{{}, netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")}},
	{Name: "build", Scopes: []string{"files", "tokens:read"}, Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")}},
}

// FuzzTokenRest compares parseRest with encoding/json: what it reads, it reads in the same
// way.
func FuzzTokenRest(f *testing.F) {
	for _, text := range []string{
		`{}`, `{"lastUsed":01}`, `{"lastUsed":-0}`, `{"lastUsed":1.0}`, `{"lastUsed":1} `, `{"lastUsed":1,}`, `{"order":65536}`, `{"order":-1}`,
		`{"LASTUSED":7}`, `{"name":null}`, `{"scopes":[]}`, `{"scopes":["a",]}`, `{"scopes":["a"],"scopes":["b"]}`, `{"addresses":["10.1.2.3/8","x"]}`,
		`{"name":"a","name":"b"}`, `{"name":"\u0041"}`, "{\"name\":\"a\nb\"}", `{"name":"a"`, `{"name"`, `{"other":1}`, `[]`, ``, `{"lastUsed":1}}`,
	} {
		f.Add([]byte(text))
	}
	for _, t := range awkward {
		b := must.Get(json.Marshal(t))(f)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var fast, want Token
		if !fast.parseRest(bytes.Clone(b)) {
			return
		}
		if err := json.Unmarshal(b, &want); err != nil || !reflect.DeepEqual(fast, want) {
			t.Errorf("%q is read as %+v, not as %+v, %v", b, fast, want, err)
		}
	})
}

// TestParseToken reads what Value writes. A usual token is read without encoding/json.
func TestParseToken(t *testing.T) {
	for n, want := range awkward {
		want.ID, want.Owner, want.Generation, want.Created, want.Expires, want.Revoked = keys.ID{byte(n)}, 7, 2, -3, 4, math.MaxInt64
		b := must.Get(want.Value())(t)
		var read Token
		must.Do(t, json.Unmarshal(b[tokenHead:], &read)) // invalid UTF-8 is replaced
		want.Name = read.Name
		if got, err := ParseToken(want.ID, b); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
	}
	usual, err := json.Marshal(awkward[len(awkward)-1])
	if err != nil || !new(Token).parseRest(usual) {
		t.Errorf("%s is left to encoding/json", usual)
	}
}

func BenchmarkParseToken(b *testing.B) {
	value := must.Get(awkward[len(awkward)-1].Value())(b)
	b.ReportAllocs()
	for b.Loop() {
		must.Get(ParseToken(keys.ID{}, value))(b)
	}
}

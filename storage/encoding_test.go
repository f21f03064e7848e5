package storage_test

import (
	"crypto/sha256"
	"encoding/json"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"gatehouse/storage"
	"gatehouse/storage/backup"
	"gatehouse/storage/keys"
	"gatehouse/storage/marks"
	"gatehouse/storage/record"
	"gatehouse/storage/storagetest/must"
)

var update = flag.Bool("update", false, "write the encodings of a format that is not released yet")

// TestEncodings compares the encodings of everything in the directory store, or in a
// backup, with the recorded encodings of this format. Once a release has written a
// format, a change here requires the next number, a program that reads both (see
// bringUpToDate), and stores of the former format in testdata. Before such a
// release, run: go test ./storage -run TestEncodings -update.
func TestEncodings(t *testing.T) {
	file := filepath.Join("testdata", "format"+marks.Format, "encodings")
	var got []string
	for name, b := range encodings(t) {
		got = append(got, fmt.Sprintf("%s %x", name, sha256.Sum256(b)))
	}
	b, err := os.ReadFile(file)
	if err != nil && !*update {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if strings.HasPrefix(line, "table-") || strings.HasPrefix(line, "index-") || strings.HasPrefix(line, "use-block ") { // these packages compare them
			got = append(got, strings.TrimSpace(line))
		}
	}
	slices.Sort(got)
	if *update {
		must.Do(t, os.MkdirAll(filepath.Dir(file), 0o755))
		must.Do(t, os.WriteFile(file, []byte(strings.Join(got, "\n")+"\n"), 0o644))
		return
	}
	want := strings.Split(strings.TrimSpace(string(b)), "\n")
	for _, line := range got {
		if !slices.Contains(want, line) {
			t.Errorf("in format %s this was not written so: %s", marks.Format, strings.Fields(line)[0])
		}
	}
	for _, line := range want {
		if name := strings.Fields(line)[0]; !slices.ContainsFunc(got, func(l string) bool { return strings.HasPrefix(l, name+" ") }) {
			t.Errorf("in format %s this was written, and is now gone: %s", marks.Format, name)
		}
	}
}

// encodings encodes one value of each kind, with no field zero.
func encodings(t *testing.T) map[string][]byte {
	id, key32 := storage.ID{1, 2, 13: 3}, [32]byte{4, 31: 5}
	ring := keys.Ring{Current: 7, Tokens: map[byte][32]byte{7: key32}, Root: key32}
	seals := ring.Seals()
	var (
		user    storage.User
		token   storage.Token
		event   storage.Event
		session storage.Session
		file    storage.File
		m       backup.Manifest
		notice  record.Notice
		known   record.Known
	)
	for n, v := range []any{&user, &token, &event, &session, &file, &m, &notice, &known} {
		fillIn(reflect.ValueOf(v).Elem(), int64(n+3))
	}
	file.ID, file.Revision = json.RawMessage(`"4"`), json.RawMessage("5")
	notice.Body = json.RawMessage("6")
	sighting := record.Sighting{Token: id, Time: 1 << 40, Address: home.Address, Agent: home.Agent, Before: known.Networks}
	identity := storage.Identity{Source: "ldap", Subject: "subject"}
	usage := record.UsageRecord{Used: record.UsedAt(1 << 40), Mark: 77, Usage: storage.Usage{Uses: 9, PerDay: []record.DayCount{{Day: 20000, N: 4}, {Day: 20001, N: 5}}, Seen: []storage.Seen{{Origin: home, Time: 1 << 40}}}}
	payload := must.Get(record.Entry{Event: event, Ops: []record.Op{{Key: []byte("k"), Value: []byte("v")}, {Key: []byte("gone")}}}.AppendPayload(nil))(t)
	var purposes []byte
	for _, purpose := range []string{"records", "passwords", "attempts", "journal", "snapshots"} {
		k := ring.Derive(purpose)
		purposes = append(purposes, k[:]...)
	}
	return map[string][]byte{
		"end-token":    slices.Concat(record.TokenEndKey(id), record.TokenEnd{Revoked: 1 << 40, Generation: 4, Overlap: 1 << 41}.Value()),
		"end-user":     slices.Concat(record.UserEndKey(user.ID), record.UserEnd{State: storage.UserDisabled, At: 1 << 40}.Value()),
		"event":        payload,
		"file":         must.Get(json.Marshal(file))(t),
		"key-file":     record.FileKey(user.ID, 9),
		"key-identity": identity.Key(),
		"key-name":     record.NameKey(record.Fold("Ä@Example.com")),
		"key-owned":    token.OwnedKey(),
		"key-service":  record.ServiceKey(user.ID, 9),
		"key-session":  record.SessionKey("cookie"),
		"known":        slices.Concat(record.KnownKey(id), must.Get(known.Value())(t)),
		"notice":       slices.Concat(record.NoticeKey(notice.ID), must.Get(notice.Value())(t)),
		"sighting":     slices.Concat(sighting.Key(), must.Get(sighting.Value())(t)),
		"key-token":    slices.Concat(record.TokenKey(id), record.UsageKey(id)),
		"key-user":     record.UserKey(user.ID),
		"keyring":      must.Get(json.Marshal(ring))(t),
		"keys-derived": purposes,
		"manifest":     must.Get(json.Marshal(m))(t),
		"seal":         seals.Seal([]byte("key"), []byte("value")),
		"secret":       []byte(keys.Ring{Tokens: map[byte][32]byte{1: key32}}.TokenKeys().Secret(id, 4).Reveal()),
		"session":      must.Get(json.Marshal(session))(t),
		"token":        must.Get(token.Value())(t),
		"usage":        usage.Value(),
		"user":         must.Get(user.Value())(t),
	}
}

// fillIn sets every exported field, however deep, so that the test notices a
// new field.
func fillIn(v reflect.Value, n int64) {
	switch v.Interface().(type) {
	case netip.Prefix:
		v.Set(reflect.ValueOf(netip.MustParsePrefix("192.0.2.0/24")))
		return
	case json.RawMessage:
		v.SetBytes(fmt.Append(nil, n))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fillIn(v.Field(i), n+int64(i))
			}
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fillIn(v.Index(0), n)
	case reflect.Array:
		for i := range v.Len() {
			fillIn(v.Index(i), n+int64(i))
		}
	case reflect.String:
		v.SetString(fmt.Sprint("s", n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(n)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(n))
	case reflect.Map:
		k, e := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fillIn(k, n)
		fillIn(e, n)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(k, e)
	default:
		panic("a field of an unknown kind: " + v.Type().String())
	}
}

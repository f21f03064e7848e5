package reply

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/dgraph-io/badger/v4"

	"gatehouse/storage"
	"gatehouse/storage/storagetest/must"
)

// TestErrorTable: every error that storage returns to its callers has a status here,
// except those of opening and closing the store.
func TestErrorTable(t *testing.T) {
	others := map[string]bool{"ErrKeyMissing": true, "ErrKeyExposed": true, "ErrWrongKey": true, "ErrUnsaved": true}
	source := must.Get(os.ReadFile("errors.go"))(t)
	for _, name := range exportedErrors(t, "../../storage/types.go") {
		if !others[name] && !strings.Contains(string(source), "storage."+name+",") {
			t.Errorf("storage.%s has no row in the table", name)
		}
	}
	for _, row := range statuses {
		status, message := Status(fmt.Errorf("in /var/lib: %w", row.err))
		if status != row.status || strings.Contains(message, "/") {
			t.Errorf("%v: got %d %q, want %d", row.err, status, message, row.status)
		}
	}
	for err, want := range map[error]int{
		errors.New("disk /dev/sda1"):                          http.StatusInternalServerError,
		&storage.InvalidError{Message: "say more"}:            http.StatusBadRequest,
		fmt.Errorf("x: %w", &http.MaxBytesError{Limit: 1}):    http.StatusRequestEntityTooLarge,
		badger.ErrDBClosed:                                    http.StatusInternalServerError,
		errors.Join(errors.New("/secret"), storage.ErrFailed): http.StatusServiceUnavailable,
	} {
		if status, message := Status(err); status != want || strings.ContainsAny(message, "/") {
			t.Errorf("%v: got %d %q, want %d", err, status, message, want)
		}
	}
}

// exportedErrors lists the variables Err… of a source file.
func exportedErrors(t *testing.T, file string) (names []string) {
	t.Helper()
	f := must.Get(parser.ParseFile(token.NewFileSet(), file, nil, 0))(t)
	ast.Inspect(f, func(n ast.Node) bool {
		if v, ok := n.(*ast.ValueSpec); ok {
			for _, name := range v.Names {
				if strings.HasPrefix(name.Name, "Err") {
					names = append(names, name.Name)
				}
			}
		}
		return true
	})
	if len(names) == 0 {
		t.Fatalf("%s has no errors", file)
	}
	return names
}

package admin

import (
	"strings"
	"testing"

	"gatehouse/server/api"
)

// TestOperator: what an operator is told not to be allowed is what the routes refuse.
func TestOperator(t *testing.T) {
	says := map[string]string{
		"POST /admin/users": "user add", "DELETE /admin/users/{uid}": "remove", "POST /admin/users/{uid}/link": "link", "POST /admin/users/{uid}/unlink": "unlink",
		"DELETE /admin/services/{name}": "service remove", "GET /admin/key": "key", "POST /admin/key/rotate": "key",
	}
	for _, r := range new(Admin).Routes() {
		word := says[r.Pattern]
		refused := r.Role == api.Admin || r.Except == api.Operator
		if refused != (word != "") || !strings.Contains(api.Operator.May(), word) {
			t.Errorf("%s: refused to an operator: %v, in %q: %q", r.Pattern, refused, api.Operator.May(), word)
		}
		delete(says, r.Pattern)
	}
	if len(says) > 0 {
		t.Errorf("no routes: %v", says)
	}
}

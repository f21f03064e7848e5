package record

import (
	"bytes"
	"encoding/json"
	"fmt"

	"gatehouse/storage/disk"
)

// File is a file that a user opened. ID and Revision are JSON scalars, kept as
// they came.
type File struct {
	ID       json.RawMessage `json:"id"`
	Name     string          `json:"name"`
	Time     int64           `json:"time"` // ms, as the client said or when it came
	Revision json.RawMessage `json:"revision"`
	Path     string          `json:"path"`
	Order    uint64          `json:"order"` // raised with each opening: tells files of one millisecond apart

	Slot byte `json:"-"` // where it is stored
}

// Same reports whether two records are of the same file.
func (f *File) Same(g *File) bool { return bytes.Equal(f.ID, g.ID) && f.Path == g.Path }

// ParseFile reads the record, which is JSON, of a recent file that is under a key.
func ParseFile(k, b []byte) (File, error) {
	f := File{Slot: k[len(k)-1]}
	if err := json.Unmarshal(b, &f); err != nil {
		return File{}, fmt.Errorf("%w: a recent file: %w", disk.ErrDamaged, err)
	}
	return f, nil
}

package record

import (
	"bytes"
	"encoding/json"
	"fmt"

	"gatehouse/storage/disk"
)

// File is a file that a user opened. ID and Revision are JSON scalars, kept as
// the client sent them.
type File struct {
	ID       json.RawMessage `json:"id"`
	Name     string          `json:"name"`
	Time     int64           `json:"time"` // ms, from the client, or the time of arrival
	Revision json.RawMessage `json:"revision"`
	Path     string          `json:"path"`
	Order    uint64          `json:"order"` // raised with each opening: orders files of the same millisecond

	Slot byte `json:"-"` // the slot where it is stored
}

// Same reports whether two records describe the same file.
func (f *File) Same(g *File) bool { return bytes.Equal(f.ID, g.ID) && f.Path == g.Path }

// ParseFile decodes the record of a recent file, which is JSON; k is its key.
func ParseFile(k, b []byte) (File, error) {
	f := File{Slot: k[len(k)-1]}
	if err := json.Unmarshal(b, &f); err != nil {
		return File{}, fmt.Errorf("%w: a recent file: %w", disk.ErrDamaged, err)
	}
	return f, nil
}

// Package index is the projection of the journal that listings and rare reads need: all
// records by their keys, in Badger. Verification reads it only for tokens with scopes,
// addresses, an end or a rotation, and caches what it read (package verify).
//
// The index owns the directory "index" of a store. It receives operations, as the journal has
// them, and knows about their keys and values only what [Kinds] says. It is never
// believed against the journal: an index that does not agree with it catches up or is filled
// again.
//
//	Open      verifies Badger's files, then opens them, and reads the position
//	CatchUp   brings in what the journal has beyond the position, and compares
//	Fill      fills an empty index from a checkpoint, and from the journal after that
//	Batch     is what one append to the journal puts: the writer's
//	View      reads as of one moment
//	Update    writes what the journal does not record, such as sessions and uses
//
// # What is believed of Badger
//
// Nothing that can be checked. Where a block is damaged, Badger answers from an older
// version, or with nothing. So its files are verified before it is opened (files.go). With
// each batch it is told how many records it should hold and the sum of their fingerprints
// (counts.go), and the journal records the same. After a stop that was not clean, one walk
// through the index therefore tells whether Badger has forgotten anything. If it has, the
// records that it may have lost are brought in again (replay.go), from an earlier sequence
// that say where it was (position.go). If that is not enough, the caller fills it again.
//
// # A full disk
//
// Badger writes through a memory map, where a full disk ends the process. So it is given
// nothing while space is short. What the journal has and Badger lacks waits in memory
// (waiting.go), and views read there first.
package index

import (
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"

	"gatehouse/storage/disk"
	"gatehouse/storage/keys"
	"gatehouse/storage/lasting"
	"gatehouse/storage/record"
)

// Options describe an index. All except Yield are required.
type Options struct {
	Dir   string // of the store: the index is in a directory of it
	Seals *keys.Seals
	Space *disk.Space
	Log   *slog.Logger
	Kinds Kinds

	// Closing is closed when a long walk must end.
	Closing <-chan struct{}
	// Yield is called now and then by a walk that nobody waits for, with the time when
	// it was last called, and returns the time now. It lets requests be answered.
	Yield func(since time.Time) time.Time
}

// Kinds say what the index must know about the records. A kind is the first byte of a
// key.
type Kinds struct {
	Counted  string  // the kinds in the counts: the journal records all of them
	Reported [2]byte // the counts say how many of these there are
	Dense    string  // counted kinds with keys of at least three bytes; most keys share their first two
	Sealed   string  // the kinds with values that begin with their seal
	// Newer reports whether what the index has under a key is newer than what the journal
	// brings, both opened. The journal does not record all changes of such a kind.
	Newer     func(has, brings []byte) bool
	NewerKind byte
}

// Index is an open index. View and Update may be called from many goroutines, but
// Batch only from one, the writer.
type Index struct {
	opts     Options
	db       *badger.DB
	space    space
	progress progress // owned by the opening, then by the writer
	holds    Counts   // what the index must hold there; same owner

	waits  atomic.Pointer[waiting] // operations that the journal has and Badger does not; nil: none
	behind lasting.State

	// The contents of the index and the answers of verification change together:
	// the writer holds visible while they change, and a view holds it to begin.
	visible sync.RWMutex
	shut    bool
	using   sync.WaitGroup // views and updates

	said    messages
	ailing  lasting.State // Badger
	damaged atomic.Bool
	batch   []record.Op // kept, so that each batch need not allocate it
}

// New returns an index that is not open.
func New(o Options) *Index {
	if o.Yield == nil {
		o.Yield = func(time.Time) time.Time { return time.Now() }
	}
	return &Index{
		opts:   o,
		space:  space{Space: o.Space, dir: filepath.Join(o.Dir, "index")},
		behind: lasting.State{Log: o.Log, Level: slog.LevelWarn, Begins: "the index is behind the journal", Ends: "the index has caught up with the journal"},
		ailing: lasting.State{Log: o.Log, Level: slog.LevelWarn, Begins: "the index reports errors", Ends: "the index reports no more errors", Quiet: 10 * time.Second}, // Badger tries again each second
	}
}

// dir is the directory of Badger.
func (x *Index) dir() string { return x.space.dir }

// badgerOptions keep memory and disk small: one host, small values. Nothing is
// synced: the journal is.
func badgerOptions(dir string) badger.Options {
	return badger.DefaultOptions(dir).
		WithLogger(nil).
		WithSyncWrites(false).
		WithDetectConflicts(false). // one writer; sessions have keys of their own
		WithMemTableSize(8 << 20).
		WithNumMemtables(2).
		WithValueThreshold(64 << 10).
		WithValueLogFileSize(16 << 20).
		WithCompression(options.None).
		WithBlockCacheSize(0). // the kernel's page cache is enough
		WithIndexCacheSize(16 << 20).
		WithNumCompactors(2).
		WithNumLevelZeroTablesStall(32). // more tables than there is room for while compactions wait for the disk
		WithChecksumVerificationMode(options.OnBlockRead).
		WithMetricsEnabled(false)
}

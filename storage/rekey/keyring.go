package rekey

import (
	"os"
	"sync"
	"time"

	"gatehouse/storage/keys"
)

// Keyring is the keyring of an open store. Its methods may be called from many goroutines.
type Keyring struct {
	Ring   string       // the file of the keyring
	Key    string       // the key file
	Held   keys.File    // its key, for a process that can't read the file
	Tokens *keys.Tokens // the token keys in use
	Step   func(string) // as in [Rotation]

	changing sync.Mutex   // held while the keys change
	making   sync.RWMutex // held for reading while a token is made
}

// File is a key file, or an old one beside it.
type File struct {
	Name    string
	ID      string    // identifies the key, without revealing it
	Written time.Time // the file
	Opens   bool      // whether it opens the keyring
}

// Making keeps the keys from changing until the returned function is called. The caller
// makes a token in between.
func (k *Keyring) Making() (made func()) {
	k.making.RLock()
	return k.making.RUnlock
}

// Files lists the key file, and the old ones beside it, the newest first.
func (k *Keyring) Files() (list []File, err error) {
	k.changing.Lock()
	defer k.changing.Unlock()
	f, err := Key(k.Key, k.Held)
	if err != nil {
		return nil, err
	}
	ring, err := os.ReadFile(k.Ring)
	if err != nil {
		return nil, err
	}
	for _, f := range append([]keys.File{f}, Old(k.Key)...) {
		_, err := f.Open(k.Ring, ring)
		list = append(list, File{Name: f.Name(), ID: f.ID(), Written: f.Written(), Opens: err == nil})
	}
	return list, nil
}

// Rotate replaces the key file and adds a token key, which new tokens use. The tokens of
// earlier keys end at a time in ms; 0: they do not. For announce see [Rotation].
func (k *Keyring) Rotate(now time.Time, ends int64, announce func(keys.Ring) error) (Result, error) {
	k.changing.Lock()
	defer k.changing.Unlock()
	r, err := Rotation{
		Ring: k.Ring, Key: k.Key, Now: now, Step: k.Step, Announce: announce,
		Change: func(r keys.Ring) (keys.Ring, error) { return r.Rotated(now.UnixMilli(), ends) },
	}.Run()
	if err != nil {
		return r, err
	}
	k.use(r.Ring)
	k.Held = keys.File{} // the file has another one now, which this process wrote
	return r, nil
}

// Drop drops the token keys, other than the current one, that no token needs. The parameter
// needed tells how many tokens each key has; it is called while no key changes.
func (k *Keyring) Drop(needed func() [256]int) (dropped []byte, err error) {
	k.changing.Lock()
	defer k.changing.Unlock()
	n := needed()
	for _, key := range k.Tokens.List() {
		if !key.Current && n[key.Number] == 0 {
			dropped = append(dropped, key.Number)
		}
	}
	if len(dropped) == 0 {
		return nil, nil
	}
	f, err := Key(k.Key, k.Held)
	if err != nil {
		return nil, err
	}
	r, err := Drop(k.Ring, f, dropped...)
	if err != nil {
		return nil, err
	}
	k.use(r)
	return dropped, nil
}

// use takes other token keys into use. Afterwards no token of an earlier key is being made.
func (k *Keyring) use(r keys.Ring) {
	k.making.Lock()
	defer k.making.Unlock()
	k.Tokens.Use(r)
}

package storage

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

// keyring holds the keys of an installation. It lies in the data directory,
// in the file keyring, sealed with AES-256-GCM under the key file: a stolen
// backup without the key file yields neither tokens nor password hashes.
//
// Records and passwords are sealed with keys derived from root, not from a
// token key, so that retiring a token key kills its tokens and nothing else.
type keyring struct {
	Current byte              `json:"current"` // the token key for new tokens
	Tokens  map[byte][32]byte `json:"tokens"`
	Root    [32]byte          `json:"root"`
}

// sealedKeyring is the file. The checksum tells a damaged file from a wrong key.
type sealedKeyring struct {
	Version int    `json:"version"`
	Nonce   []byte `json:"nonce"`
	Sealed  []byte `json:"sealed"`
	CRC     uint32 `json:"crc32c"` // of Nonce and Sealed
}

const keyringContext = "gatehouse keyring 1"

// newKeyring makes the keys of a new installation.
func newKeyring() keyring {
	k := keyring{Current: 1, Tokens: map[byte][32]byte{}}
	var first [32]byte
	rand.Read(first[:])
	k.Tokens[1] = first
	rand.Read(k.Root[:])
	return k
}

// derive makes a key for one purpose from the root key (RFC 5869).
func (k keyring) derive(purpose string) (key [32]byte) {
	b, err := hkdf.Key(sha256.New, k.Root[:], nil, "gatehouse "+purpose, len(key))
	if err != nil {
		panic(err) // only for a length beyond 255 hashes
	}
	copy(key[:], b)
	return key
}

func newGCM(key [32]byte) cipher.AEAD {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic(err) // the length is right by type
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err) // never for AES
	}
	return aead
}

func (k keyring) seal(kek [32]byte) ([]byte, error) {
	plain, err := json.Marshal(k)
	if err != nil {
		return nil, err
	}
	s := sealedKeyring{Version: 1, Nonce: make([]byte, 12)}
	rand.Read(s.Nonce)
	s.Sealed = newGCM(kek).Seal(nil, s.Nonce, plain, []byte(keyringContext))
	s.CRC = s.checksum()
	return json.Marshal(s)
}

func (s sealedKeyring) checksum() uint32 {
	return crc32.Update(crc32.Checksum(s.Nonce, castagnoli), castagnoli, s.Sealed)
}

// openKeyring opens a keyring. What a flipped bit may do to the rest of the file is
// harmless as long as the sealed part opens, so that is tried first.
func openKeyring(file string, b []byte, kek [32]byte, keyFile string) (k keyring, err error) {
	var s sealedKeyring
	parsed := json.Unmarshal(b, &s) == nil && len(s.Nonce) == 12
	var plain []byte
	if parsed {
		plain, err = newGCM(kek).Open(nil, s.Nonce, s.Sealed, []byte(keyringContext))
	}
	switch {
	case !parsed, err != nil && s.CRC != s.checksum():
		return k, fmt.Errorf("%w: %s is damaged: put back a copy of it that is not, or %s", ErrDamaged, file, restoreAdvice)
	case err != nil && s.Version > 1:
		return k, fmt.Errorf("%s has version %d, and this gatehouse reads version 1: use the program that made it", file, s.Version)
	case err != nil:
		return k, fmt.Errorf("%w: %s is not the key that this store was made with: put back the one that is", ErrWrongKey, keyFile)
	}
	if err := json.Unmarshal(plain, &k); err != nil {
		return keyring{}, fmt.Errorf("read the keyring: %w", err)
	}
	return k, nil
}

// loadKeys reads the key file and the keyring, and makes both for a new store.
func loadKeys(dir, keyFile string, fresh bool) (keyring, error) {
	kek, err := readKeyFile(keyFile)
	if errors.Is(err, fs.ErrNotExist) {
		if !fresh {
			return keyring{}, fmt.Errorf("%w: %s does not exist, and the store in %s can't be read without it: put it back", ErrKeyMissing, keyFile, dir)
		}
		kek, err = makeKeyFile(keyFile)
	}
	if err != nil {
		return keyring{}, err
	}
	file := filepath.Join(dir, "keyring")
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		if !fresh {
			return keyring{}, fmt.Errorf("%w: %s is missing, and the store can't be read without it: put it back, or %s", ErrDamaged, file, restoreAdvice)
		}
		k := newKeyring()
		if b, err = k.seal(kek); err != nil {
			return keyring{}, err
		}
		return k, WriteFile(file, b)
	}
	if err != nil {
		return keyring{}, err
	}
	return openKeyring(file, b, kek, keyFile)
}

// CheckKeyFile returns an error unless a key can be read from the file. A file that does
// not exist is no error: the first start makes it.
func CheckKeyFile(file string) error {
	_, err := readKeyFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// readKeyFile reads 64 hexadecimal characters from a file that nobody else can
// read. What systemd passes as a credential may carry a group's bits, which
// there are the mask of an access list (systemd.exec(5)).
func readKeyFile(file string) (key [32]byte, err error) {
	f, err := openKeyFile(file)
	if err != nil {
		return key, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return key, err
	}
	forbidden := fs.FileMode(0o077)
	if d := os.Getenv("CREDENTIALS_DIRECTORY"); d != "" && filepath.Dir(file) == filepath.Clean(d) {
		forbidden = 0o007
	}
	if info.Mode().Perm()&forbidden != 0 {
		return key, fmt.Errorf("%w: %s has mode %04o, so others can read it: chmod 600 %s, and consider whether it has leaked",
			ErrKeyExposed, file, info.Mode().Perm(), file)
	}
	b, err := io.ReadAll(io.LimitReader(f, 4<<10))
	if err != nil {
		return key, err
	}
	// An editor or a shell of Windows may have put a byte-order mark in front, or written UTF-16.
	if b, _, err = transform.Bytes(unicode.BOMOverride(transform.Nop), b); err != nil {
		return key, fmt.Errorf("read %s: %w", file, err)
	}
	text := strings.TrimSpace(string(b))
	if len(text) != 2*len(key) {
		return key, fmt.Errorf("%w: %s must contain 64 hexadecimal characters: put back the key that the store was made with", ErrWrongKey, file)
	}
	if _, err := hex.Decode(key[:], []byte(text)); err != nil {
		return key, fmt.Errorf("%w: %s must contain 64 hexadecimal characters: put back the key that the store was made with", ErrWrongKey, file)
	}
	return key, nil
}

// openKeyFile opens a regular file, and refuses what is none without waiting for it: a
// pipe that nobody writes to would hold up the start forever.
func openKeyFile(file string) (*os.File, error) {
	f, err := os.OpenFile(file, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if to, link := os.Readlink(file); link == nil && errors.Is(err, fs.ErrNotExist) { // no key is made in its place
		return nil, fmt.Errorf("%w: %s is a symbolic link to %s, which does not exist", ErrKeyMissing, file, to)
	}
	if err != nil && !errors.Is(err, unix.ENXIO) { // that is a socket's, open(2)
		return nil, err
	}
	info, err := os.Stat(file)
	if f != nil {
		info, err = f.Stat()
	}
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%w: %s is not a regular file but %s", ErrWrongKey, file, kindOf(info.Mode()))
	}
	if err != nil && f != nil {
		f.Close()
	}
	return f, err
}

// kindOf says what is in the place of a regular file.
func kindOf(mode fs.FileMode) string {
	switch mode.Type() {
	case fs.ModeDir:
		return "a directory"
	case fs.ModeNamedPipe:
		return "a pipe"
	case fs.ModeSocket:
		return "a socket"
	}
	return "a device"
}

func makeKeyFile(file string) (key [32]byte, err error) {
	rand.Read(key[:])
	if err := WriteFile(file, []byte(hex.EncodeToString(key[:])+"\n")); err != nil {
		return key, fmt.Errorf("make the key file: %w", err)
	}
	return key, nil
}

// WriteFile makes a file of mode 0600 that is whole or not there, and is on
// the disk when it returns. It replaces an older one, but nothing else: for
// root, a rename would put the file in the place of /dev/stdout.
func WriteFile(file string, b []byte) error {
	if info, err := os.Lstat(file); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("%s is there, and is no regular file", file)
	}
	dir := filepath.Dir(file)
	f, err := os.CreateTemp(dir, "."+filepath.Base(file)+"-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // does nothing after the rename
	if _, err = f.Write(b); err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), file); err != nil {
		return err
	}
	return syncDir(dir)
}

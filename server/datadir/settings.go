package datadir

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"gatehouse/server/config"
)

// errNowhere is why there is no data directory. The working directory is none: a store
// would be where nobody looks for it, and every other start would make another.
var errNowhere = errors.New("nothing says where the data is: give --data DIR, or set GATEHOUSE_DATA (STATE_DIRECTORY, XDG_STATE_HOME and HOME are not set)")

// Locate finds the data directory: the one that was named or, without a name,
// the state directory of the service or of the user.
func Locate(name string) (string, error) {
	if name == "" {
		name, _, _ = strings.Cut(os.Getenv("STATE_DIRECTORY"), ":") // a list, systemd.exec(5)
	}
	if state := os.Getenv("XDG_STATE_HOME"); name == "" && filepath.IsAbs(state) {
		name = filepath.Join(state, "gatehouse")
	}
	if home := os.Getenv("HOME"); name == "" && filepath.IsAbs(home) {
		name = filepath.Join(home, ".local", "state", "gatehouse")
	}
	if name == "" {
		return "", errNowhere
	}
	return filepath.Abs(name)
}

// Settings reads the configuration, from file unless that is empty: flag over
// environment (which is in the flag by now) over file over default.
func (d Dir) Settings() (cfg config.Config, file string, err error) {
	file = d.Config
	if beside := filepath.Join(d.Path, "config.toml"); file == "" && exists(beside) {
		file = beside
	}
	cfg = config.Default()
	if file != "" {
		if cfg, err = config.Load(file); err != nil {
			return cfg, file, err
		}
	}
	if d.Listen != "" {
		cfg.Listen = d.Listen
	}
	if dir := os.Getenv("CREDENTIALS_DIRECTORY"); dir != "" {
		if key := filepath.Join(dir, "gatehouse-key"); exists(key) {
			cfg.KeyFile = key
		}
	}
	return cfg, file, nil
}

// whole reads the configuration and tries the files that it names. It is called before
// a store is made, so that a mistake does not leave one behind.
func (d Dir) whole() (config.Config, error) {
	cfg, _, err := d.Settings()
	if err != nil {
		return cfg, err
	}
	return cfg, cfg.CheckFiles()
}

// exists reports whether there is such a file, or might be: when that can't be found
// out, or it is a link to nothing, to go on as without it would be with another key or
// no configuration.
func exists(file string) bool {
	_, err := os.Lstat(file)
	return !errors.Is(err, fs.ErrNotExist)
}

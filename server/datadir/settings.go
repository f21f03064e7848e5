package datadir

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"gatehouse/server/config"
	"gatehouse/server/directory"
	"gatehouse/server/recheck"
	"gatehouse/storage/keys"
)

// errNowhere means that nothing names a data directory. The working directory does not
// count: nobody would look for a store there, and every other start would make another
// one.
var errNowhere = errors.New("the data directory is not known: give --data DIR, or set GATEHOUSE_DATA (STATE_DIRECTORY, XDG_STATE_HOME and HOME are not set)")

// Locate finds the data directory: the named one or, without a name,
// the state directory of the service or of the user.
func Locate(name string) (string, error) {
	if name == "" {
		name, _ = usual()
	}
	if name == "" {
		return "", errNowhere
	}
	return filepath.Abs(name)
}

// usual returns the data directory when nobody has named one, and the variable of the
// environment that names it; empty if it is the one in the home directory.
func usual() (dir, variable string) {
	if dir, _, _ := strings.Cut(os.Getenv("STATE_DIRECTORY"), ":"); dir != "" { // a list, systemd.exec(5)
		return dir, "STATE_DIRECTORY"
	}
	if state := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(state) {
		return filepath.Join(state, "gatehouse"), "XDG_STATE_HOME"
	}
	if home := os.Getenv("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".local", "state", "gatehouse"), ""
	}
	return "", ""
}

// Settings reads the configuration, and returns the file that it read, if any. A flag
// overrides the environment (which is already in the flag), the environment overrides the
// file, and the file overrides the defaults.
func (d Dir) Settings() (cfg config.Config, file string, err error) {
	file = d.Config
	if beside := filepath.Join(d.Path, "config.toml"); file == "" && exists(beside) {
		file = beside
	}
	cfg = config.Default()
	if file != "" {
		if cfg, err = config.Load(file); err != nil && !cfg.Decoded() {
			return cfg, file, err
		}
	}
	if d.Listen != "" {
		cfg.Listen = d.Listen
		cfg.Override("listen", d.origin("listen"))
	}
	if dir := os.Getenv("CREDENTIALS_DIRECTORY"); dir != "" {
		if key := filepath.Join(dir, "gatehouse-key"); exists(key) {
			cfg.KeyFile = key
			cfg.Override("key_file", "environment CREDENTIALS_DIRECTORY")
		}
	}
	return cfg, file, err
}

// origin says where the value of a flag comes from.
func (d Dir) origin(flag string) string {
	if d.Origin == nil {
		return ""
	}
	return d.Origin(flag)
}

// AllSettings returns all settings in force, beginning with where the data and the
// configuration file are.
func (d Dir) AllSettings() ([]config.Setting, error) {
	cfg, file, err := d.Settings()
	if err != nil {
		return nil, err
	}
	if cfg.KeyFile == "" {
		cfg.KeyFile = filepath.Join(d.Path, "key")
	}
	from := d.origin("data")
	if _, variable := usual(); from == "" && variable != "" {
		from = "environment " + variable
	}
	list := []config.Setting{
		{Name: "data", Value: strconv.Quote(d.Path), From: cmp.Or(from, config.FromDefault)},
		{Name: "config", Value: strconv.Quote(file), From: cmp.Or(d.origin("config"), config.FromDefault)},
	}
	return append(list, cfg.Settings()...), nil
}

// CheckSettings reads the configuration, and tries the files that it names and the key
// file. It returns the configuration file; empty: there is none.
func (d Dir) CheckSettings() (file string, err error) {
	cfg, file, err := d.whole()
	if err != nil && !cfg.Decoded() {
		return file, err
	}
	key := cmp.Or(cfg.KeyFile, filepath.Join(d.Path, "key"))
	return file, errors.Join(err, keys.CheckFile(key))
}

// Step is a step of TryLogins, on one server.
type Step = directory.Step

// TryLogins tries what logins by the directory and by a provider need, if they are named,
// and returns what each step found. A step that fails is not an error.
func (d Dir) TryLogins(ctx context.Context, ldapUser, provider string) (steps []Step, err error) {
	cfg, _, err := d.Settings()
	if err != nil {
		return nil, err
	}
	if ldapUser != "" {
		steps, err = directory.Check(ctx, cfg, ldapUser)
	}
	if provider != "" {
		more, failed := recheck.Check(ctx, cfg, provider)
		steps, err = append(steps, more...), errors.Join(err, failed)
	}
	return steps, err
}

// whole reads the configuration and tries the files that it names. It is called before
// a store is made, so that a mistake does not leave one behind.
func (d Dir) whole() (cfg config.Config, file string, err error) {
	cfg, file, err = d.Settings()
	if err != nil && !cfg.Decoded() {
		return cfg, file, err
	}
	return cfg, file, cmp.Or(cfg.CheckFiles(), err) // a flag may hide what is wrong in the file
}

// exists reports whether the file exists or might exist. It might if the system can't
// tell, or if it is a link to nothing: to continue without the file would mean another
// key or no configuration.
func exists(file string) bool {
	_, err := os.Lstat(file)
	return !errors.Is(err, fs.ErrNotExist)
}

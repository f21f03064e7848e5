package server

import (
	"maps"
	"reflect"
	"slices"
	"strings"
)

// adopt returns the settings in c with those of a newer configuration in their place
// that a running server can take over.
func (c Config) adopt(newer Config) Config {
	c.TrustedProxies = newer.TrustedProxies
	if c.TLS.Cert != "" && newer.TLS.Cert != "" {
		c.TLS = newer.TLS
	}
	c.Log.Level = newer.Log.Level
	c.Limits = newer.Limits
	c.Logins = newer.Logins
	c.Tokens.KnownScopes = newer.Tokens.KnownScopes
	c.Tokens.Reveal = newer.Tokens.Reveal
	c.Tokens.DefaultLifetime = newer.Tokens.DefaultLifetime
	c.Tokens.MaxLifetime = newer.Tokens.MaxLifetime
	c.doc = newer.doc
	return c
}

// Reload takes over what a configuration that Check and CheckFiles have accepted says
// differently, and reads the certificate again. It logs what has changed, and which
// settings need a restart. It reports whether it took it over. It is called by one goroutine at a time, after Listen.
func (s *Server) Reload(newer Config) (taken bool) {
	before := *s.config()
	now := before.adopt(newer)
	if s.pair != nil {
		if err := s.pair.use(now.TLS); err != nil {
			s.log.Error("the configuration is not taken: what was in force stays", "error", err)
			return false
		}
	}
	s.settings.Store(&now)
	s.changes.setLimit(now.Limits.ChangesPerUser)
	s.open.warn(s.log)
	if list := changedSettings(now, newer); len(list) > 0 {
		s.log.Warn("settings have changed that need a restart", "settings", strings.Join(list, " "))
	}
	changed := changedSettings(before, now)
	if len(changed) == 0 {
		changed = []string{"nothing"}
	}
	s.log.Info("the configuration has been read again", "changed", strings.Join(changed, " "))
	return true
}

// changedSettings returns the names of the settings in which two configurations
// differ.
func changedSettings(a, b Config) []string {
	return compareSettings("", reflect.ValueOf(a), reflect.ValueOf(b))
}

func compareSettings(path string, a, b reflect.Value) (list []string) {
	if path != "" && (!a.IsValid() || !b.IsValid() || a.Kind() == reflect.Pointer && (a.IsNil() || b.IsNil())) {
		if a.IsValid() != b.IsValid() || a.IsNil() != b.IsNil() {
			list = append(list, path) // a section that only one of them has
		}
		return list
	}
	if !isSection(a.Type()) {
		if !reflect.DeepEqual(a.Interface(), b.Interface()) {
			list = append(list, path)
		}
		return list
	}
	within := func(name string) string { return strings.TrimPrefix(path+"."+name, ".") }
	switch a.Kind() {
	case reflect.Pointer:
		return compareSettings(path, a.Elem(), b.Elem())
	case reflect.Map:
		names := map[string]bool{}
		for _, k := range append(a.MapKeys(), b.MapKeys()...) {
			names[k.String()] = true
		}
		for _, name := range slices.Sorted(maps.Keys(names)) {
			k := reflect.ValueOf(name)
			list = append(list, compareSettings(within(name), a.MapIndex(k), b.MapIndex(k))...)
		}
	default:
		for i := range a.NumField() {
			if name := a.Type().Field(i).Tag.Get("toml"); name != "" {
				list = append(list, compareSettings(within(name), a.Field(i), b.Field(i))...)
			}
		}
	}
	return list
}

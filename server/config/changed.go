package config

import (
	"maps"
	"reflect"
	"slices"
	"strings"
)

// Adopt returns the settings in c, with those that a running server can change
// replaced by the ones of a newer configuration.
func (c Config) Adopt(newer Config) Config {
	c.TrustedProxies = newer.TrustedProxies
	if c.TLS.Cert != "" && newer.TLS.Cert != "" {
		c.TLS = newer.TLS
	}
	c.Log.Level, c.Log.Access = newer.Log.Level, newer.Log.Access
	c.Limits = newer.Limits
	c.Admin = newer.Admin
	c.Logins = newer.Logins
	c.Tokens.KnownScopes = newer.Tokens.KnownScopes
	c.Tokens.Reveal = newer.Tokens.Reveal
	c.Tokens.DefaultLifetime = newer.Tokens.DefaultLifetime
	c.Tokens.MaxLifetime = newer.Tokens.MaxLifetime
	c.doc = newer.doc
	return c
}

// Changed returns the names of the settings in which two configurations
// differ.
func Changed(a, b Config) []string {
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

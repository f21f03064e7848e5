package config

import (
	"maps"
	"reflect"
	"slices"
	"strings"
)

// Adopt returns the settings of a newer configuration, except for those that a running
// server can't change: listen and key_file stay as they are in c.
func (c Config) Adopt(newer Config) Config {
	newer.Listen, newer.KeyFile = c.Listen, c.KeyFile
	return newer
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

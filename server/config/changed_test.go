package config

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

// TestChangedSettings finds a change of every setting there is.
func TestChangedSettings(t *testing.T) {
	whole := func() Config {
		return Config{LDAP: &LDAP{}, OAuth: map[string]OAuth{"x": {}}}
	}
	found := 0
	var change func(path string, v reflect.Value, changed *Config)
	change = func(path string, v reflect.Value, changed *Config) {
		for i := range v.NumField() {
			name, f := v.Type().Field(i).Tag.Get("toml"), v.Field(i)
			if name == "" {
				continue
			}
			if f.Kind() == reflect.Pointer {
				f = f.Elem()
			}
			full := strings.TrimPrefix(path+"."+name, ".")
			switch {
			case f.Kind() == reflect.Map && isSection(f.Type().Elem()):
				changed.OAuth["x"] = OAuth{Type: "y"}
				full += ".x.type"
			case f.Kind() == reflect.Map:
				f.Set(reflect.ValueOf(map[string]string{"x": "y"}))
				full += ".x"
			case isSection(f.Type()):
				change(full, f, changed)
				continue
			default:
				other(f)
			}
			if got := Changed(whole(), *changed); !slices.Equal(got, []string{full}) {
				t.Errorf("%s: got %q", full, got)
			}
			found++
			f.SetZero()
			changed.OAuth = whole().OAuth
		}
	}
	changed := whole()
	change("", reflect.ValueOf(&changed).Elem(), &changed)
	if found < 30 {
		t.Errorf("tried %d settings", found)
	}
}

// other gives a setting another value than the zero one.
func other(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString("other")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(7)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
	case reflect.Struct:
		other(v.Field(0))
	}
}

package config

import (
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Setting is a setting in force.
type Setting struct {
	Name  string // such as ldap.urls
	Value string // as it could be written in the file
	From  string // such as "config.toml, line 3"
}

// FromDefault is the source of a setting that nobody has set.
const FromDefault = "default"

// NotSet is the value of a section that is not configured.
const NotSet = "not set"

// Override notes that the caller, not the file, decided a setting. from says what decided
// it, such as "flag --listen".
func (c *Config) Override(setting, from string) {
	c.from = maps.Clone(c.from)
	if c.from == nil {
		c.from = map[string]string{}
	}
	c.from[setting] = from
}

// Settings returns all settings in force, in the order of the manual. A section that is
// not configured is one row without a value. Secrets are in files, which are named and not
// read; the password in a URL is replaced by xxxxx, and so is all after the host of a webhook,
// because many services accept notices from everybody who knows the whole URL.
func (c Config) Settings() []Setting {
	c = c.withDefaults()
	var list []Setting
	walk("", reflect.ValueOf(c), func(name string, value reflect.Value) {
		text := NotSet
		if !isSection(value.Type()) {
			text = written(value)
		}
		if name == "notify.webhook" {
			text = strconv.Quote(hostOnly(value.String()))
		}
		list = append(list, Setting{name, text, c.source(name)})
	})
	return list
}

// withDefaults fills in the defaults that the packages ldap and oauth have.
func (c Config) withDefaults() Config {
	if c.LDAP != nil {
		l := *c.LDAP
		d := l.Directory().WithDefaults()
		l.Filter, l.UIDAttribute, l.IDAttribute = d.Filter, d.UIDAttribute, d.IDAttribute
		l.Timeout.Duration = l.LoginTimeout()
		if l.Recheck.Duration = l.RecheckEvery(); l.Recheck.Duration == 0 {
			l.Recheck.Duration = off
		}
		c.LDAP = &l
	}
	c.OAuth = maps.Clone(c.OAuth)
	for name, p := range c.OAuth {
		p.URL = p.provider(name).WithDefaults().URL
		if p.Recheck.Duration = p.RecheckEvery(); p.Recheck.Duration == 0 {
			p.Recheck.Duration = off
		}
		p.RecheckGrace.Duration = p.Grace()
		c.OAuth[name] = p
	}
	return c
}

// source says where a setting comes from.
func (c Config) source(name string) string {
	if from := c.from[name]; from != "" {
		return from
	}
	if c.doc != nil && c.doc.lines[name] > 0 {
		return fmt.Sprintf("%s, line %d", c.doc.file, c.doc.lines[name])
	}
	return FromDefault
}

// walk calls f for each setting in a section, and for a section that is not configured.
func walk(path string, section reflect.Value, f func(name string, value reflect.Value)) {
	empty := section.Kind() == reflect.Pointer && section.IsNil() || section.Kind() == reflect.Map && section.Len() == 0
	if empty || !isSection(section.Type()) {
		f(path, section)
		return
	}
	within := func(name string) string { return strings.TrimPrefix(path+"."+name, ".") }
	switch section.Kind() {
	case reflect.Pointer:
		walk(path, section.Elem(), f)
	case reflect.Map:
		for _, k := range slices.SortedFunc(slices.Values(section.MapKeys()), func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) }) {
			walk(within(k.String()), section.MapIndex(k), f)
		}
	default:
		for i := range section.NumField() {
			if name := section.Type().Field(i).Tag.Get("toml"); name != "" {
				walk(within(name), section.Field(i), f)
			}
		}
	}
}

// hostOnly replaces all after the host of a URL.
func hostOnly(text string) string {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return text // it is empty: an invalid one is never in force
	}
	return u.Scheme + "://" + u.Host + "/xxxxx"
}

// written returns a value as the file would have it.
func written(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case string:
		if u, err := url.Parse(x); err == nil && u.User != nil {
			x = u.Redacted()
		}
		return strconv.Quote(x)
	case netip.Prefix:
		return strconv.Quote(x.String())
	case fmt.Stringer:
		return strconv.Quote(x.String())
	}
	if v.Kind() == reflect.Slice {
		list := make([]string, v.Len())
		for i := range list {
			list[i] = written(v.Index(i))
		}
		return "[" + strings.Join(list, ", ") + "]"
	}
	return fmt.Sprint(v.Interface())
}

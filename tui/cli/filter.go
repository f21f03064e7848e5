package cli

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"gatehouse/server/api"
)

// filterFlag is the flag of one filter. The server parses the value.
type filterFlag struct {
	filters api.Filters
	form    api.FilterForm
}

func (f filterFlag) Set(value string) error { return f.Append(value) }

func (f filterFlag) Type() string {
	if f.form.Value == "" {
		return "bool"
	}
	return f.form.Value
}

func (f filterFlag) String() string { return strings.Join(f.GetSlice(), " ") }

// The methods of pflag.SliceValue, by which an empty value among others is found.

func (f filterFlag) Append(value string) error {
	f.filters[f.form.Name] = append(f.filters[f.form.Name], value)
	return nil
}

func (f filterFlag) Replace(values []string) error {
	f.filters[f.form.Name] = values
	return nil
}

func (f filterFlag) GetSlice() []string { return f.filters[f.form.Name] }

// filterFlags adds a flag for each filter to a command, and returns where the values
// will be.
func filterFlags(c *cobra.Command, forms []api.FilterForm) api.Filters {
	filters := api.Filters{}
	for _, form := range forms {
		help := "filter: " + form.Help
		if form.Many {
			help += "; may be repeated"
		}
		f := c.Flags().VarPF(filterFlag{filters, form}, form.Name, "", help)
		if form.Value == "" {
			f.NoOptDefVal = "true"
		}
	}
	return filters
}

// isFilter reports whether a listing has a filter of that name.
func isFilter(name string) bool {
	is := func(f api.FilterForm) bool { return f.Name == name }
	return slices.ContainsFunc(api.TokenFilters, is) || slices.ContainsFunc(api.UserFilters, is) || slices.ContainsFunc(api.EventFilters, is)
}

// sorting is what --sort takes: a key, and a minus sign before it to reverse the order.
type sorting struct {
	key  string
	keys []api.Order
}

func (s *sorting) flag(c *cobra.Command, keys ...api.Order) {
	s.keys = keys
	c.Flags().StringVar(&s.key, "sort", string(keys[0]), "sort by "+s.list()+", the smallest first; -"+string(keys[0])+" reverses")
}

func (s *sorting) list() string {
	names := make([]string, len(s.keys))
	for i, k := range s.keys {
		names[i] = string(k)
	}
	return strings.Join(names, " or ")
}

func (s *sorting) order() (o api.Order, reverse bool, err error) {
	key, reverse := strings.CutPrefix(s.key, "-")
	for _, k := range s.keys {
		if strings.EqualFold(strings.ReplaceAll(key, "-", ""), string(k)) {
			return k, reverse, nil
		}
	}
	return o, false, Usagef("--sort: %q is not a key; it can be %s, with a - before it to reverse", s.key, s.list())
}

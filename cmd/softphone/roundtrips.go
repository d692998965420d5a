package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// roundTrips are milliseconds by region, a flag.
type roundTrips map[string]int

// String is the flag's value.
func (r *roundTrips) String() string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(*r)) {
		all = append(all, fmt.Sprintf("%s=%d", name, (*r)[name]))
	}
	return strings.Join(all, ",")
}

// Set reads eu=12,us=95.
func (r *roundTrips) Set(text string) error {
	all := roundTrips{}
	for _, one := range strings.Split(text, ",") {
		name, value, _ := strings.Cut(one, "=")
		ms, err := strconv.Atoi(value)
		if name == "" || err != nil || ms < 0 {
			return fmt.Errorf("%q is not a region and milliseconds, as eu=12", one)
		}
		all[name] = ms
	}
	*r = all
	return nil
}

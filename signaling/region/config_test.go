package region

import (
	"fmt"
	"strings"
	"testing"
)

func TestValidate(t *testing.T) {
	for _, c := range []Config{Default(), world} {
		if err := c.Validate(); err != nil {
			t.Errorf("%v: %v", c, err)
		}
	}
	many := Config{}
	for i := range 33 {
		many.List = append(many.List, Region{Name: fmt.Sprint("r", i)})
	}
	for _, test := range []struct {
		name string
		c    Config
		want string
	}{
		{"many", many, "list: has 33 regions"},
		{"name", Config{List: []Region{{Name: "EU West"}}}, "list[0].name:"},
		{"no name", Config{List: []Region{{Name: ""}}}, "list[0].name:"},
		{"twice", Config{List: []Region{{Name: "a"}, {Name: "a"}}}, `list[1].name: "a" is named twice`},
		{"country", Config{List: []Region{{Name: "a", Countries: []string{"UK"}}}}, `list[0].countries: "UK" is neither`},
		{"small", Config{List: []Region{{Name: "a", Countries: []string{"de"}}}}, `list[0].countries: "de" is neither`},
		{"code", Config{List: []Region{{Name: "a", Countries: []string{"49"}}}}, `list[0].countries: "49" is neither`},
		{"shared", Config{List: []Region{{Name: "a", Countries: []string{"DE"}}, {Name: "b", Countries: []string{"DE"}}}}, `list[1].countries: "DE" is in the region "a", too`},
		{"probe", Config{List: []Region{{Name: "a", Probe: "wss://eu.example/"}}}, "list[0].probe:"},
		{"probe with a password", Config{List: []Region{{Name: "a", Probe: "https://a:b@eu.example/"}}}, "list[0].probe:"},
		{"default", Config{List: []Region{{Name: "a"}}, Default: "b"}, `default: "b" is none of the regions`},
		{"file", Config{GeoIPFile: "x.mmdb"}, "geoip_file: is given, but list has no regions"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := test.c.Validate(); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
}

package region

import (
	"fmt"
	"strings"
	"testing"
)

func TestChooseRelays(t *testing.T) {
	eu1 := Relay{Name: "eu1", Region: "eu", Zone: "a", Max: 100}
	eu2 := Relay{Name: "eu2", Region: "eu", Zone: "a", Max: 100}
	eu3 := Relay{Name: "eu3", Region: "eu", Zone: "b", Max: 100}
	us1 := Relay{Name: "us1", Region: "us", Zone: "c", Max: 100}
	with := func(r Relay, used int, draining bool) Relay { r.Used, r.Draining = used, draining; return r }
	for _, test := range []struct {
		name   string
		all    []Relay
		region string
		want   [][]string // each of these, over many calls, and no other
	}{
		{"none", nil, "eu", [][]string{nil}},
		{"one, elsewhere", []Relay{us1}, "eu", [][]string{{"us1"}}},
		{"the region's first", []Relay{us1, eu1}, "eu", [][]string{{"eu1", "us1"}}},
		{"the second in another zone", []Relay{eu1, eu2, eu3}, "eu", [][]string{{"eu1", "eu3"}, {"eu2", "eu3"}, {"eu3", "eu1"}, {"eu3", "eu2"}}},
		{"in another zone, though elsewhere", []Relay{eu1, eu2, us1}, "eu", [][]string{{"eu1", "us1"}, {"eu2", "us1"}}},
		{"one zone alone", []Relay{eu1, eu2}, "eu", [][]string{{"eu1", "eu2"}, {"eu2", "eu1"}}},
		{"not those that are drained", []Relay{with(eu1, 0, true), us1}, "eu", [][]string{{"us1"}}},
		{"not those that have gone", []Relay{{Name: "eu1", Region: "eu", Gone: true}, us1}, "eu", [][]string{{"us1"}}},
		{"the busy ones last", []Relay{with(eu1, 80, false), us1}, "eu", [][]string{{"us1", "eu1"}}},
		{"79 of 100 is not busy", []Relay{with(eu1, 79, false), us1}, "eu", [][]string{{"eu1", "us1"}}},
		{"all are busy", []Relay{with(eu1, 99, false)}, "eu", [][]string{{"eu1"}}},
		{"the region is not known", []Relay{eu1, us1}, "", [][]string{{"eu1", "us1"}, {"us1", "eu1"}}},
		{"no zones are known", []Relay{{Name: "x"}, {Name: "y"}, {Name: "z"}}, "", [][]string{{"x", "y"}, {"x", "z"}, {"y", "x"}, {"y", "z"}, {"z", "x"}, {"z", "y"}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			seen := map[string]bool{}
			for i := range 300 {
				var names []string
				for _, r := range ChooseRelays(test.all, fmt.Sprint("call ", i), test.region) {
					names = append(names, r.Name)
				}
				seen[fmt.Sprint(names)] = true
			}
			for _, w := range test.want {
				if !seen[fmt.Sprint(w)] {
					t.Errorf("never %v", w)
				}
				delete(seen, fmt.Sprint(w))
			}
			for s := range seen {
				t.Errorf("sometimes %s", s)
			}
		})
	}
}

// Relays get calls after the room that they have, and a relay that goes leaves the
// calls of the others where they are.
func TestRelaysShareCalls(t *testing.T) {
	all := []Relay{{Name: "a", Max: 100}, {Name: "b", Used: 50, Max: 100}, {Name: "c", Max: 100}}
	const calls = 10_000
	got, stay := map[string]int{}, 0
	for i := range calls {
		call := fmt.Sprint("call ", i)
		first := ChooseRelays(all, call, "")[0].Name
		got[first]++
		if first == "c" {
			continue
		}
		if ChooseRelays(all[:2], call, "")[0].Name == first {
			stay++
		}
	}
	for name, want := range map[string]float64{"a": 0.4, "b": 0.2, "c": 0.4} {
		if share := float64(got[name]) / calls; share < want-0.02 || share > want+0.02 {
			t.Errorf("%s gets %.3f of the calls, want %.1f", name, share, want)
		}
	}
	if stay != got["a"]+got["b"] {
		t.Errorf("%d of %d calls stay where they are when c goes", stay, got["a"]+got["b"])
	}
}

// Of each relay it is said how it stands for a call, and why it is given to it or not.
func TestRankRelays(t *testing.T) {
	all := []Relay{
		{Name: "dead", Region: "eu", Max: 100, Gone: true},
		{Name: "drained", Region: "eu", Max: 100, Draining: true},
		{Name: "full", Region: "eu", Zone: "a", Used: 85, Max: 100},
		{Name: "far", Region: "us", Zone: "b", Max: 100},
		{Name: "near", Region: "eu", Zone: "a", Used: 50, Max: 100},
		{Name: "nearer", Region: "eu", Zone: "a", Max: 100},
	}
	seen := map[string]bool{}
	for i := range 100 {
		var got []string
		for _, c := range RankRelays(all, fmt.Sprint("call ", i), "eu") {
			got = append(got, fmt.Sprintf("%s %s %s %.2f", c.Name, c.Rank, c.Verdict, c.Share))
		}
		rest := "far far second 0.00, full busy not_needed 0.00, drained draining excluded 0.00, dead gone excluded 0.00"
		one := "nearer near first 0.67, near near same_zone 0.33, " + rest
		other := "near near first 0.33, nearer near same_zone 0.67, " + rest
		text := strings.Join(got, ", ")
		if text != one && text != other {
			t.Fatalf("got  %s\nwant %s\nor   %s", text, one, other)
		}
		seen[text] = true
	}
	if len(seen) != 2 {
		t.Error("all calls get the same")
	}
	one := RankRelays(all[:3], "call", "eu")
	if got := fmt.Sprintf("%s %s %.0f", one[0].Name, one[0].Verdict, one[0].Share); got != "full first 1" {
		t.Errorf("with the others drained or gone: %s", got)
	}
	if two := RankRelays(all[4:], "call", "eu"); two[1].Verdict != SecondAnyZone {
		t.Errorf("with one zone alone, the second is %s", two[1].Verdict)
	}
	if none := RankRelays(all[:2], "call", "eu"); none[0].Verdict != Excluded || none[1].Verdict != Excluded || none[0].Share != 0 {
		t.Errorf("with none that serves: %+v", none)
	}
}

// BenchmarkChooseRelays is what each side of a call costs.
func BenchmarkChooseRelays(b *testing.B) {
	var all []Relay
	for i := range 30 {
		all = append(all, Relay{Name: fmt.Sprint("relay-", i), Region: fmt.Sprint("r", i%3), Zone: fmt.Sprint("z", i%5), Used: i, Max: 100})
	}
	b.ReportAllocs()
	for b.Loop() {
		ChooseRelays(all, "0123456789abcdef", "r1")
	}
}

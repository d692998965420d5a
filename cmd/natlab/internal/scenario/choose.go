package scenario

import (
	"fmt"
	"strings"
)

// Choose returns the cases that a word means: the name of one, as "symmetric × full-cone" or
// with an x for the sign, or "caller=symmetric,callee=full-cone" with either left out for all
// of them. It is an error if there is none.
func Choose(cases []Case, word string) ([]Case, error) {
	match, err := matcher(word)
	if err != nil {
		return nil, err
	}
	var chosen []Case
	for _, c := range cases {
		if match(c) {
			chosen = append(chosen, c)
		}
	}
	if len(chosen) > 0 {
		return chosen, nil
	}
	names := map[string]bool{}
	for _, c := range cases {
		names[c.Name] = true
	}
	text := fmt.Sprintf("there is no case %q", word)
	if n := near(normal(word), sorted(names)); len(n) > 0 {
		text += fmt.Sprintf("; is it %q?", n[0])
	}
	return nil, fmt.Errorf("%s", text)
}

func matcher(word string) (func(Case) bool, error) {
	if !strings.Contains(word, "=") {
		return func(c Case) bool { return c.Name == normal(word) }, nil
	}
	want := map[string]string{}
	for part := range strings.SplitSeq(word, ",") {
		side, access, ok := strings.Cut(strings.TrimSpace(part), "=")
		if !ok || side != "caller" && side != "callee" || want[side] != "" {
			return nil, fmt.Errorf("case %q: it is a name, or caller=ACCESS,callee=ACCESS", word)
		}
		want[side] = access
	}
	return func(c Case) bool {
		return (want["caller"] == "" || want["caller"] == c.CallerAccess) && (want["callee"] == "" || want["callee"] == c.CalleeAccess)
	}, nil
}

// normal is the name of a case with the sign that they have.
func normal(word string) string {
	for _, sign := range []string{" x ", " X ", " * ", "×"} {
		if a, b, ok := strings.Cut(word, sign); ok {
			return strings.TrimSpace(a) + " × " + strings.TrimSpace(b)
		}
	}
	return strings.TrimSpace(word)
}

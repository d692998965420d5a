package scenario

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Dir is where scenarios are, from the root of the sources.
const Dir = "configs/natlab"

// The file with the accesses that all scenarios may use.
const accessFile = "access.yaml"

// UnknownError is a scenario that there is none of.
type UnknownError struct {
	Name, Dir string
	Near      []string // names that look like it
}

func (e *UnknownError) Error() string {
	text := fmt.Sprintf("no scenario %q in %s", e.Name, e.Dir)
	if len(e.Near) > 0 {
		text += "; is it " + strings.Join(e.Near, " or ") + "?"
	}
	return text
}

// Load reads the scenarios of a directory, by name, or all of them in the order of their
// names. A name with a slash, or that ends in .yaml, is that of a file elsewhere. Errors are
// [Problems], all that is wrong with all of them; an [UnknownError]; or one of reading the
// directory.
func Load(dir string, names ...string) ([]*Scenario, error) {
	there, err := filesIn(dir)
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		names = there
	}
	library, problems := loadAccess(dir)
	var list []*Scenario
	var unknown []error
	for _, name := range names {
		path := filepath.Join(dir, name+".yaml")
		switch {
		case strings.ContainsRune(name, '/') || strings.HasSuffix(name, ".yaml"):
			path = name
		case !slices.Contains(there, name):
			unknown = append(unknown, &UnknownError{name, dir, near(name, there)})
			continue
		}
		s, p := load(path, library)
		list, problems = append(list, s), append(problems, p...)
	}
	if len(unknown) > 0 {
		return nil, errors.Join(unknown...)
	}
	if len(problems) > 0 {
		return nil, problems
	}
	return list, nil
}

// filesIn are the names of the scenarios of a directory.
func filesIn(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		var at *fs.PathError
		if errors.As(err, &at) {
			err = at.Err
		}
		return nil, fmt.Errorf("scenarios in %s: %w", dir, err)
	}
	var names []string
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".yaml"); ok && e.Name() != accessFile && !e.IsDir() {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("there is no scenario in %s", dir)
	}
	return names, nil
}

// loadAccess reads the accesses that all scenarios may use. There need be none.
func loadAccess(dir string) (map[string]Access, Problems) {
	path := filepath.Join(dir, accessFile)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	library := map[string]Access{}
	f := read(path, path, &library)
	for name, a := range library {
		f.access(name, name, a)
	}
	f.sort()
	return library, f.problems
}

func load(path string, library map[string]Access) (*Scenario, Problems) {
	s := &Scenario{Name: strings.TrimSuffix(filepath.Base(path), ".yaml")}
	f := read(path, path, s)
	if f.unread[""] {
		return s, f.problems
	}
	s.own = slices.Sorted(maps.Keys(s.Access))
	for _, name := range s.own {
		if _, twice := library[name]; twice {
			f.bad(join("access", name), "it is in %s already; take another name", accessFile)
		}
	}
	if s.Access == nil {
		s.Access = map[string]Access{}
	}
	for name, a := range library {
		if _, own := s.Access[name]; !own {
			s.Access[name] = a
		}
	}
	s.defaults()
	if f.check(s); len(f.problems) == 0 {
		f.expand(s)
	}
	f.sort()
	return s, f.problems
}

// defaults fills in servers.
func (s *Scenario) defaults() {
	if len(s.Signaling) == 0 {
		s.Signaling = []string{"signaling"}
	}
	if len(s.Relays) == 0 && !s.NoRelays {
		s.Relays = map[string]Relay{"relay": {}}
	}
	for name, r := range s.Relays {
		if r.Region == "" {
			r.Region = "lab"
			s.Relays[name] = r
		}
	}
}

// On is whether the scenario is for an engine.
func (s *Scenario) On(engine string) bool {
	return len(s.Engines) == 0 || slices.Contains(s.Engines, engine)
}

// Cases are its calls, in the order of the matrix.
func (s *Scenario) Cases() []Case { return s.cases }

func (f *file) sort() {
	slices.SortStableFunc(f.problems, func(a, b Problem) int { return a.Line - b.Line })
}

// near are those of some words that differ in few letters, or contain what was asked for.
func near(word string, words []string) []string {
	var list []string
	for _, w := range words {
		if distance(word, w) <= max(2, len(w)/4) || len(word) > 2 && strings.Contains(w, word) {
			list = append(list, w)
		}
	}
	slices.SortStableFunc(list, func(a, b string) int { return distance(word, a) - distance(word, b) })
	return list[:min(3, len(list))]
}

// distance is how many letters to change, add or leave out (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		corner := row[0]
		row[0]++
		for j := range len(b) {
			cost := corner
			if a[i] != b[j] {
				cost++
			}
			corner = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

package signaling_test

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// arrows are the rules of who may know whom. A pattern that ends in ... stands
// for a package and all below it; packages of ours are written without the
// module's name in front. Tests may import what they like.
var arrows = []struct {
	who    string   // the packages a rule is about
	unless string   // but not these
	not    []string // what they must not import
	only   []string // or: the only packages beside the standard library that they may import
	deep   bool     // not through other packages either
	why    string
}{
	{who: "directory/...", not: []string{"signaling/...", "relay/..."}, deep: true,
		why: "the directory knows numbers and devices, not what they are used for"},
	{who: "directory/e164", not: []string{nats, pion, "directory"}, deep: true,
		why: "clients parse numbers, too"},
	{who: "relay/...", not: []string{"signaling/...", "directory/...", nats}, deep: true,
		why: "a relay runs, is tested and is trusted alone; it is given what it needs"},
	{who: "relay", not: []string{"relay/natlab/..."}, deep: true,
		why: "a lab is made around relays, and is no part of them"},
	{who: "signaling/protocol", only: []string{"directory/e164"},
		why: "the wire is for clients, too"},
	{who: "signaling/call", only: []string{"directory/e164", "signaling/protocol"},
		why: "the rules of a call are a pure function"},
	{who: "signaling/call", not: []string{"net/...", "os/...", "context", "log/...", "sync/..."},
		why: "the rules of a call open nothing, wait for nothing and log nothing"},
	{who: "signaling/client", only: []string{"directory/e164", "signaling/protocol", "github.com/gorilla/websocket"},
		why: "whoever writes a client gets a small library"},
	{who: "signaling/client", not: []string{nats, pion}, deep: true,
		why: "whoever writes a client gets neither NATS nor a media stack"},
	{who: "signaling", not: []string{"relay/...", "directory/natsnode", "signaling/client", "signaling/web", nats, pion},
		why: "sessions and calls see stores, relays and NATS through small interfaces, so that fakes can stand in and time be virtual"},
	{who: "signaling/mailbox", not: []string{"directory/...", "signaling/...", "relay/..."},
		why: "a mailbox stores bytes; what they mean is not its business"},
	{who: "signaling/callstore", not: []string{"directory/...", "signaling/...", "relay/..."},
		why: "the call store keeps bytes; what they mean is not its business"},
	{who: "signaling/cdr", not: []string{"directory/...", "signaling", "relay/..."},
		why: "records of calls are for operators and hold accounts; whoever writes them knows no numbers"},
	{who: "signaling/region", not: []string{"directory", "signaling", "relay/...", nats},
		why: "what is best for a device is decided by what one is given"},
	{who: "signaling/auth", not: []string{"signaling", "signaling/call", "signaling/mailbox", "relay/...", nats},
		why: "who somebody is depends on no session, call or relay"},
	{who: "signaling/admin", not: []string{"relay/...", "directory/natsnode", "signaling/web", nats, pion},
		why: "the operators' API sees sessions, stores and relays through small interfaces"},
	{who: "cmd/internal/ledger", only: []string{},
		why: "what checks the texts shares no code with what carries them"},
	{who: "...", unless: "cmd/...", not: []string{"cmd/..."}, deep: true,
		why: "programs are put together from packages, never the other way round"},
	{who: "...", unless: "directory/natsnode", not: []string{"github.com/nats-io/nats-server/..."},
		why: "one package starts NATS; for all others it is a connection"},
	{who: "...", unless: "directory/e164", not: []string{"github.com/nyaruka/..."},
		why: "one package reads phone numbers, so that all agree on what is one"},
}

const (
	module = "switchboard"
	nats   = "github.com/nats-io/..."
	pion   = "github.com/pion/..."
)

// listed is what go list says of a package.
type listed struct {
	ImportPath string
	Standard   bool
	Imports    []string
	Deps       []string
}

func TestArrows(t *testing.T) {
	packages, standard := list(t)
	for _, rule := range arrows {
		matched := false
		for _, p := range packages {
			if !matches(rule.who, p.ImportPath) || matches(rule.unless, p.ImportPath) {
				continue
			}
			matched = true
			imports := p.Imports
			if rule.deep {
				imports = p.Deps
			}
			for _, i := range imports {
				allowed := rule.only == nil || standard[i] || matchesAny(rule.only, i)
				if matchesAny(rule.not, i) || !allowed {
					t.Errorf("%s imports %s, but %s", p.ImportPath, i, rule.why)
				}
			}
		}
		if !matched {
			t.Errorf("a rule is about %s, which does not exist", rule.who)
		}
	}
}

func TestMatches(t *testing.T) {
	for _, test := range []struct {
		pattern, path string
		want          bool
	}{
		{"...", "switchboard/relay", true},
		{"...", "net/http", false},
		{"", "switchboard", false},
		{"relay", "switchboard/relay", true},
		{"relay", "switchboard/relay/natlab", false},
		{"relay/...", "switchboard/relay", true},
		{"relay/...", "switchboard/relay/natlab", true},
		{"relay/...", "switchboard/relayer", false},
		{"net/...", "net/http", true},
		{"net/...", "net", true},
		{nats, "github.com/nats-io/nats.go", true},
		{nats, "github.com/nats-io/nats.go/jetstream", true},
		{nats, "github.com/pion/turn/v5", false},
	} {
		if got := matches(test.pattern, test.path); got != test.want {
			t.Errorf("matches(%q, %q) = %v", test.pattern, test.path, got)
		}
	}
}

// matches reports whether the package at path is meant by pattern. Of the same
// name, both ours and the standard library's are.
func matches(pattern, path string) bool {
	ours, isOurs := strings.CutPrefix(path, module+"/")
	if pattern == "..." {
		return isOurs
	}
	return matchesPath(pattern, path) || isOurs && matchesPath(pattern, ours)
}

func matchesPath(pattern, path string) bool {
	folder, below := strings.CutSuffix(pattern, "/...")
	return path == folder || below && strings.HasPrefix(path, folder+"/")
}

func matchesAny(patterns []string, path string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return matches(p, path) })
}

// list returns the packages of the house, and which of all packages that they
// need are the standard library's.
func list(t *testing.T) (ours []listed, standard map[string]bool) {
	t.Helper()
	lookAtAll(t)
	cmd := exec.CommandContext(t.Context(), "go", "list", "-e", "-deps", "-json=ImportPath,Standard,Imports,Deps", "./...")
	cmd.Dir = ".."
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	standard = make(map[string]bool)
	for d := json.NewDecoder(out); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if p.Standard {
			standard[p.ImportPath] = true
		}
		if strings.HasPrefix(p.ImportPath, module+"/") {
			ours = append(ours, p)
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("go list: %v", err)
	}
	return ours, standard
}

// lookAtAll lets go test see that this test depends on every file of the house,
// so that it does not take an old result for a new one.
func lookAtAll(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && strings.HasPrefix(d.Name(), ".") && path != ".." {
			return fs.SkipDir
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

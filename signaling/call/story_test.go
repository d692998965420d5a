package call

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"switchboard/signaling/protocol"
)

// TestStories plays the transcripts in testdata/stories. A line that begins
// with ">" is something that happens; what follows, indented, is what becomes
// of it. "# " is for the reader. -update writes what follows anew.
func TestStories(t *testing.T) {
	files, err := filepath.Glob("testdata/stories/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no stories: %v", err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, f, play(t, string(text)))
		})
	}
}

// play runs the lines that happen and returns the transcript.
func play(t *testing.T, text string) string {
	t.Helper()
	var b strings.Builder
	var c Call
	now := start
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(line, "#") || line == "" {
			b.WriteString(line + "\n")
			continue
		}
		words, ok := strings.CutPrefix(line, "> ")
		if !ok {
			continue // what became of it the last time
		}
		b.WriteString(line + "\n")
		f := strings.Fields(words)
		if d, isWait := strings.CutPrefix(words, "wait "); isWait {
			span, err := time.ParseDuration(d)
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			now = now.Add(span)
			continue
		}
		if f[0] == "invite" {
			var acts []Action
			c, acts = New(Invite{ID: "c", Caller: Party{"alice", caller}, Callee: "bob", Devices: devices(t, f[1:]), Media: []protocol.Media{protocol.Audio}, SDP: offer}, now)
			fmt.Fprintf(&b, "  → %s\n", c.State)
			writeActions(&b, acts)
			continue
		}
		before := c
		n, acts, err := c.Next(storyEvent(t, f), now)
		switch {
		case err != nil:
			fmt.Fprintf(&b, "  refused: %v\n", err)
		case n.State != before.State:
			fmt.Fprintf(&b, "  → %s\n", n.State)
		case len(acts) == 0:
			b.WriteString("  nothing to do\n")
		}
		writeActions(&b, acts)
		c = n
	}
	return b.String()
}

func writeActions(b *strings.Builder, acts []Action) {
	for _, a := range acts {
		fmt.Fprintf(b, "  %s\n", actionWord(a))
	}
}

func devices(t *testing.T, words []string) []uint32 {
	t.Helper()
	var all []uint32
	for _, w := range words {
		all = append(all, device(t, w))
	}
	return all
}

func device(t *testing.T, word string) uint32 {
	t.Helper()
	d, ok := map[string]uint32{"caller": caller, "one": one, "two": two, "three": 13, "stranger": stranger}[word]
	if !ok {
		t.Fatalf("no device %q", word)
	}
	return d
}

// storyEvent reads "one answers", "caller hangs-up", "timer ring".
func storyEvent(t *testing.T, f []string) Event {
	t.Helper()
	if f[0] == "timer" {
		return Timeout{Timer(f[1])}
	}
	d := device(t, f[0])
	by := protocol.Callee
	if f[0] == "caller" {
		by = protocol.Caller
	}
	gen := map[protocol.Role]string{protocol.Caller: "AAAA", protocol.Callee: "BBBB"}[by]
	n := 1
	if len(f) > 2 {
		if _, err := fmt.Sscan(f[2], &n); err != nil {
			t.Fatal(err)
		}
	}
	switch f[1] {
	case "joins":
		return Join{d}
	case "rings":
		return RingingOn{d}
	case "answers":
		return Answer{d, answer}
	case "rejects":
		return Reject{d}
	case "is-busy":
		return Busy{d}
	case "cancels":
		return Cancel{}
	case "hangs-up":
		return Hangup{By: by, Device: d}
	case "candidates":
		return candidates(by, d, gen, n)
	case "offers":
		return describe(by, d, n)
	case "is-up":
		return up(by, d)
	case "loses-media":
		return down(by, d)
	case "fails":
		return Report{By: by, Device: d, Media: protocol.MediaFailed}
	case "calls-anew":
		return Supersede{}
	}
	t.Fatalf("no event %q", f[1])
	return nil
}

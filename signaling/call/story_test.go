package call

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
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
			in := Invite{ID: "c", Caller: Party{"alice", caller}, Callee: "bob", Media: []protocol.Media{protocol.Audio}, SDP: offer}
			if i := slices.Index(f, "among-strangers"); i >= 0 {
				in.HideCaller, in.HideCallee, f = HideRinging, HideRinging, slices.Delete(f, i, i+1)
			}
			in.Devices = devices(t, f[1:])
			c, acts = New(in, now)
			fmt.Fprintf(&b, "  → %s\n", c.State)
			writeActions(&b, acts)
			continue
		}
		before := c
		e := storyEvent(t, f)
		if timeout, ok := e.(Timeout); ok && len(f) == 2 { // "early" is before it is due
			if at := due(c, timeout.Timer); at.After(now) {
				now = at
			}
		}
		n, acts, err := c.Next(e, now)
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

// due is when a timer runs out, the zero time if it does not run.
func due(c Call, name Timer) time.Time {
	for _, d := range c.Due {
		if d.Timer == name {
			return d.At
		}
	}
	return time.Time{}
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
	switch f[0] {
	case "timer":
		return Timeout{Timer(f[1])}
	case "relay-lost":
		return RelayLost{relayAt}
	}
	d := device(t, f[0])
	by := protocol.Callee
	if f[0] == "caller" {
		by = protocol.Caller
	}
	gen := map[protocol.Role]string{protocol.Caller: "AAAA", protocol.Callee: "BBBB"}[by]
	n := 1
	if len(f) > 2 && f[1] != "rings" {
		if _, err := fmt.Sscan(f[2], &n); err != nil {
			t.Fatal(err)
		}
	}
	switch f[1] {
	case "joins":
		return Join{d}
	case "rings":
		return RingingOn{Device: d, Waiting: len(f) > 2}
	case "prepares":
		return Prepare{d, answer}
	case "answers":
		return Answer{d, answer}
	case "answers-otherwise":
		return Answer{d, "v=0\na=ice-ufrag:DDDD"}
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
		return report(by, d, protocol.MediaFailed, nil)
	case "is-up-by-relay":
		return relayedUp(by, d)
	case "finds-relay", "finds-host":
		line := map[string]string{
			"finds-relay": "candidate:1 1 udp 41885439 203.0.113.9 50000 typ relay raddr 192.0.2.7 rport 4000",
			"finds-host":  "candidate:2 1 udp 2122260223 192.0.2.7 4000 typ host",
		}[f[1]]
		e := candidates(by, d, gen, n).(Candidates)
		e.Candidates = []protocol.Candidate{{Candidate: line}}
		return e
	case "calls-anew":
		return Supersede{}
	}
	t.Fatalf("no event %q", f[1])
	return nil
}

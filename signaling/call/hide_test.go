package call

import (
	"strings"
	"testing"

	"switchboard/signaling/protocol"
)

func TestRelayedCandidates(t *testing.T) {
	for line, want := range map[string]bool{
		"candidate:1 1 udp 41885439 203.0.113.9 50000 typ relay raddr 192.0.2.7 rport 4000": true,
		"a=candidate:1 1 tcp 41885439 203.0.113.9 9 typ relay":                              true,
		"candidate:2 1 udp 2122260223 192.0.2.7 4000 typ host":                              false,
		"candidate:2 1 udp 2122260223 192.0.2.7 4000 typ srflx raddr relay rport 0":         false,
		"candidate:2 1 udp 2122260223 typ 4000 typ":                                         false,
		"typ":                                false,
		"candidate:typ relay udp 1 2 3 4 5":  false,
		"candidate:x typ relay 1 2 typ host": false,
		"":                                   false,
	} {
		if got := relayed(line); got != want {
			t.Errorf("relayed(%q) = %v", line, got)
		}
	}
}

func TestRelatedAddressIsBlanked(t *testing.T) {
	for in, want := range map[string]string{
		"candidate:1 1 udp 1 203.0.113.9 1 typ relay raddr 192.0.2.7 rport 4000 ufrag x": "candidate:1 1 udp 1 203.0.113.9 1 typ relay raddr 0.0.0.0 rport 9 ufrag x",
		"candidate:1 1 udp 1 2001:db8::9 1 typ relay raddr 2001:db8::7 rport 4000":       "candidate:1 1 udp 1 2001:db8::9 1 typ relay raddr :: rport 9",
		"candidate:1 1 udp 1 203.0.113.9 1 typ relay":                                    "candidate:1 1 udp 1 203.0.113.9 1 typ relay",
	} {
		if got := withoutRelatedAddress(in); got != want {
			t.Errorf("%q became %q", in, got)
		}
	}
}

// FuzzWithoutAddresses: what is left tells no candidate but of relays, and is
// left as it is the second time.
func FuzzWithoutAddresses(f *testing.F) {
	f.Add("v=0\r\no=- 1 2 IN IP4 192.0.2.7\r\nm=audio 1 x 0\r\nc=IN IP4 192.0.2.7\r\na=candidate:2 1 udp 1 192.0.2.7 4000 typ host\r\n")
	f.Add(offer)
	f.Add("a=candidate:1 1 udp 1 203.0.113.9 1 typ relay raddr 192.0.2.7 rport 4000")
	f.Fuzz(func(t *testing.T, sdp string) {
		clean, taken := withoutAddresses(sdp)
		if len(taken) > protocol.MaxCandidates {
			t.Fatalf("%d candidates were taken", len(taken))
		}
		for _, k := range taken {
			if relayed(k.Candidate) || len(k.Candidate) > protocol.MaxCandidate || k.MLine == nil {
				t.Fatalf("taken: %+v", k)
			}
		}
		for line := range strings.Lines(clean) {
			if strings.HasPrefix(line, "a=candidate:") && !relayed(line) {
				t.Fatalf("left: %q", line)
			}
		}
		if again, more := withoutAddresses(clean); again != clean || len(more) > 0 {
			t.Fatalf("%q became %q, %v", clean, again, more)
		}
	})
}

package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"switchboard/cmd/internal/phone"
	"switchboard/signaling/protocol"
)

// Programs are told all that is known of a call; people the line that they know.
func TestPrintSummary(t *testing.T) {
	relayed := protocol.Path{Local: "relay", Remote: "srflx", Protocol: "udp", Relay: "tls", Server: "relay.test:443"}
	s := phone.Summary{
		Reason: protocol.ReasonHangup, Answered: true, Began: time.Date(2000, 1, 2, 3, 4, 5, 0, time.UTC), Answer: 1500 * time.Millisecond,
		Connected: 20 * time.Millisecond, Path: &relayed, Paths: []phone.PathChange{{At: time.Second, Path: relayed}},
		Candidates: []phone.Candidate{
			{Type: "host", Address: "192.0.2.1:5000", Protocol: "udp"},
			{Type: "relay", Address: "198.51.100.1:6000", Base: "192.0.2.1:5001", Protocol: "udp", Relay: "tls", Server: "relay.test:443"},
		},
		Pairs: 4, Tried: 3, Gap: 300 * time.Millisecond, GapAt: 9 * time.Second, Silent: 10 * time.Millisecond, Received: 7,
		Moments: []phone.Moment{{At: 0, What: phone.Invited}, {At: 1200 * time.Microsecond, What: phone.Ended, Detail: "hangup"}},
	}
	var text, object bytes.Buffer
	printSummary(&output{w: &text}, s)
	if got, want := text.String(), "ended  reason hangup  path relay(tls)-srflx/udp  ringing_after 0s  answered_after 1.5s"; !strings.HasPrefix(got, want) || strings.Contains(got, "pairs") {
		t.Errorf("text: %s", got)
	}
	printSummary(&output{w: &object, json: true}, s)
	var got map[string]any
	if err := json.Unmarshal(object.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	path := map[string]any{"local": "relay", "remote": "srflx", "protocol": "udp", "relay": "tls", "server": "relay.test:443"}
	want := map[string]any{
		"event": "ended", "reason": "hangup", "path": "relay(tls)-srflx/udp", "ringing_after": 0., "answered_after": 1500., "first_media_after": 0.,
		"talked": 0., "packets_sent": 0., "packets_received": 7., "packets_lost": 0., "longest_gap": 300., "jitter": 0., "round_trip": 0.,
		"video_frames": 0., "ice_restarts": 0.,
		"began": "2000-01-02T03:04:05Z", "answered": true, "connected_after": 20., "longest_gap_at": 9000., "silent_at_end": 10.,
		"pairs": 4., "pairs_tried": 3., "selected": path,
		"paths": []any{map[string]any{"at": 1000., "local": "relay", "remote": "srflx", "protocol": "udp", "relay": "tls", "server": "relay.test:443"}},
		"candidates": []any{
			map[string]any{"type": "host", "address": "192.0.2.1:5000", "protocol": "udp"},
			map[string]any{"type": "relay", "address": "198.51.100.1:6000", "base": "192.0.2.1:5001", "protocol": "udp", "relay": "tls", "server": "relay.test:443"},
		},
		"moments": []any{map[string]any{"at": 0., "what": "invited"}, map[string]any{"at": 1.2, "what": "ended", "detail": "hangup"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

package phone

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"switchboard/signaling/protocol"
)

func TestRelaysOf(t *testing.T) {
	want := [][]way{
		{{"udp", "192.0.2.1:3478"}, {"tls", "one.example:5349"}},
		{{"udp", "192.0.2.2:3478"}, {"tls", "two.example:5349"}},
	}
	if diff := cmp.Diff(want, relaysOf(twoRelays), cmp.AllowUnexported(way{})); diff != "" {
		t.Error(diff)
	}
	if got := relaysOf(protocol.ICE{}); got != nil {
		t.Errorf("without servers: %v", got)
	}
}

func TestTransportOf(t *testing.T) {
	for url, want := range map[string]string{
		"turn:h:3478": "udp", "turn:h:3478?transport=udp": "udp", "turn:h:3478?transport=tcp": "tcp", "turns:h:5349?transport=tcp": "tls",
	} {
		if got := transportOf(url); got != want {
			t.Errorf("transportOf(%s) = %s, want %s", url, got, want)
		}
	}
}

package call

import (
	"testing"
	"time"

	"switchboard/signaling/protocol"
)

// It is known since when a side has been on its relay, however often it tells so.
func TestSinceWhenOnARelay(t *testing.T) {
	c, _ := New(Invite{ID: "c", Caller: Party{"alice", 1}, Callee: "bob", Devices: []uint32{1}, SDP: "v=0"}, start)
	now := start
	tell := func(server string) {
		t.Helper()
		now = now.Add(time.Minute)
		var err error
		if c, _, err = c.Next(Report{By: protocol.Caller, Device: 1, CallReport: protocol.CallReport{
			Media: protocol.MediaConnected, Path: &protocol.Path{Local: "relay", Remote: "host", Protocol: "udp", Server: server},
		}}, now); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if c, _, err = c.Next(Answer{Device: 1, SDP: "v=0"}, now); err != nil {
		t.Fatal(err)
	}
	tell("one:1")
	tell("one:1")
	if want := start.Add(time.Minute); !c.A.PathAt.Equal(want) {
		t.Errorf("on the first since %v, want %v", c.A.PathAt, want)
	}
	tell("two:1")
	tell("two:1")
	if want := start.Add(3 * time.Minute); !c.A.PathAt.Equal(want) {
		t.Errorf("on the second since %v, want %v", c.A.PathAt, want)
	}
	// It is told to leave, and comes to the same place again: that is another time.
	if c, _, err = c.Next(RelayLost{"two:1"}, now); err != nil {
		t.Fatal(err)
	}
	tell("two:1")
	if want := start.Add(5 * time.Minute); !c.A.PathAt.Equal(want) {
		t.Errorf("on the second again since %v, want %v", c.A.PathAt, want)
	}
}

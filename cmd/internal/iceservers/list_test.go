package iceservers

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"switchboard/directory"
	"switchboard/relay"
	"switchboard/signaling"
	"switchboard/signaling/protocol"
)

// testMinter makes credentials that no relay takes.
func testMinter(t *testing.T) *relay.Minter {
	t.Helper()
	m, err := relay.NewMinter([]relay.Secret{{ID: "t", Key: make(relay.Key, 16)}}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// servers are the URLs of ice: those that need no credentials, and those that do.
func servers(ice protocol.ICE) (stun, turn []string) {
	for _, s := range ice.Servers {
		if s.Username == "" {
			stun = append(stun, s.URLs...)
		} else {
			turn = append(turn, s.URLs...)
		}
	}
	return stun, turn
}

func TestNoRelayAtAll(t *testing.T) {
	r := &List{}
	if ice := r.For(signaling.RelaysFor{Call: "call", Account: "account", Began: time.Now()}); ice.Servers == nil || len(ice.Servers) > 0 || ice.TTLMS != 0 {
		t.Errorf("got %+v, want an empty list", ice)
	}
}

// Devices are given the relays that live, those of the caller's region first.
func TestRelaysThatAreKnown(t *testing.T) {
	known := func(name, region, zone string) directory.RelayInfo {
		return directory.RelayInfo{Relay: directory.Relay{
			Name: name, Start: "1", Region: region, Zone: zone, Max: 100,
			STUN: []string{"stun:" + name + ":3478"},
			TURN: []string{"turn:" + name + ":3478?transport=udp", "turn:" + name + ":3478?transport=tcp", "turns:" + name + ":5349?transport=tcp"},
		}}
	}
	eu1, eu2, us := known("eu1", "eu", "a"), known("eu2", "eu", "a"), known("us", "us", "b")
	list := []directory.RelayInfo{eu1, eu2, us}
	r := &List{Region: "us", Minter: testMinter(t), Own: URLs{TURN: []string{"turn:own:3478"}}, Known: func() []directory.RelayInfo { return list }}
	turn := func(call, region string) []string {
		_, all := servers(r.For(signaling.RelaysFor{Call: call, Account: "account", Began: time.Now(), Region: region}))
		return all
	}
	got := turn("call", "eu")
	first := strings.TrimSuffix(strings.TrimPrefix(got[0], "turn:"), ":3478?transport=udp")
	want := []string{"turn:" + first + ":3478?transport=udp", "turn:" + first + ":3478?transport=tcp", "turns:" + first + ":5349?transport=tcp", "turn:us:3478?transport=udp", "turns:us:5349?transport=tcp"}
	if diff := cmp.Diff(want, got); diff != "" || first == "us" {
		t.Errorf("of %s:\n%s", first, diff)
	}
	if got := turn("call", ""); !strings.HasPrefix(got[0], "turn:us:") {
		t.Errorf("the region is not known, and the first is %s, not of this process's region", got[0])
	}
	r.Changed()
	stun, _ := servers(r.Open())
	if len(stun) != 2 || stun[0] != "stun:us:3478" {
		t.Errorf("open to all: %v", stun)
	}

	// One is drained, one has gone, and one was started anew at the same place.
	list = slices.Clone(list)
	list[0].Draining, list[1].Gone = true, time.Now()
	r.Changed()
	for server, want := range map[string]signaling.RelayState{
		"eu1:3478": signaling.RelayDrains, "eu1:5349": signaling.RelayDrains, "eu2:3478": signaling.RelayLost, "us:3478": signaling.RelayServes, "other:3478": signaling.RelayServes,
	} {
		if got := r.State(server, time.Time{}); got != want {
			t.Errorf("%s: %s, want %s", server, got, want)
		}
	}
	if got := turn("call", "eu"); len(got) != 3 || !strings.HasPrefix(got[0], "turn:us:") {
		t.Errorf("with the others gone: %v", got)
	}
	// It is started anew at the same place: what it had is lost, but for the clocks.
	died := time.Now()
	list = slices.Clone(list)
	list[1].Gone, list[1].Start, list[1].Restarted = time.Time{}, "2", died
	if !r.Changed() {
		t.Error("calls are not asked to leave a relay that was started anew")
	}
	for since, want := range map[time.Time]signaling.RelayState{
		died.Add(-time.Minute): signaling.RelayLost, died.Add(-time.Second): signaling.RelayServes, died.Add(time.Second): signaling.RelayServes, {}: signaling.RelayServes,
	} {
		if got := r.State("eu2:3478", since); got != want {
			t.Errorf("started anew, used since %v: %s, want %s", since.Sub(died), got, want)
		}
	}
	if r.Changed() {
		t.Error("calls are searched again though nothing has changed")
	}

	// Another says that it is at the same place: calls of the first do not leave for it.
	evil := known("evil", "eu", "")
	evil.TURN, evil.Restarted = us.TURN, time.Now()
	list = append(list, evil)
	r.Changed()
	if got := r.State("us:3478", time.Now().Add(-time.Hour)); got != signaling.RelayServes {
		t.Errorf("another relay has the calls of a relay leave: %s", got)
	}

	// The only one that is left is drained, or seems dead: there is nowhere to go.
	for _, alone := range []func(*directory.RelayInfo){
		func(k *directory.RelayInfo) { k.Draining = true }, func(k *directory.RelayInfo) { k.Gone = time.Now() },
	} {
		list = []directory.RelayInfo{eu1}
		alone(&list[0])
		if r.Changed() || r.State("eu1:3478", time.Time{}) != signaling.RelayServes {
			t.Errorf("calls are to leave the only relay: %s", r.State("eu1:3478", time.Time{}))
		}
	}

	// None is left: this process's own, which has not made itself known yet.
	list = nil
	if got := turn("call", "eu"); len(got) != 1 || got[0] != "turn:own:3478" {
		t.Errorf("none known: %v", got)
	}
	// It has made itself known, and is drained: a call is better without.
	r.Name, list = "eu1", []directory.RelayInfo{eu1}
	list[0].Draining = true
	if got := turn("call", "eu"); len(got) != 0 {
		t.Errorf("with this process's own drained: %v", got)
	}
	// What is configured is told with the rest.
	r.TURN, list = []string{"turn:configured:3478"}, []directory.RelayInfo{us}
	if got := turn("call", "eu"); len(got) != 4 || got[3] != "turn:configured:3478" {
		t.Errorf("with what is configured: %v", got)
	}
}

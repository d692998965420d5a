package main

import (
	"context"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pion/turn/v5"

	"switchboard/signaling/client"
	"switchboard/signaling/protocol"
)

// TestRelayOfItsOwn runs a relay in a process that has no other role, and has a
// device use it with what a signaling node told it.
func TestRelayOfItsOwn(t *testing.T) {
	signaling := testNode(t, "roles: [signaling]")
	if _, err := openSecret(signaling.config.SecretFile, true); err != nil {
		t.Fatal(err)
	}
	key, err := relayKeyText(signaling.config.SecretFile)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "relay-secret")
	if err := writeSecret(file, key); err != nil {
		t.Fatal(err)
	}
	relay := testNode(t, "{roles: [relay], relay_secret_file: '"+file+"'}")
	relay.config.SecretFile = "/nowhere" // not for relays
	r := start(t, relay)
	if r.HTTP != "" {
		t.Error("a relay serves the page")
	}

	signaling.config.ICE.TURNURLs = []string{"turn:" + r.Relay["udp"] + "?transport=udp"}
	p := start(t, signaling)
	if len(p.Relay) > 0 {
		t.Error("a signaling node relays")
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ice, err := connect(t, p.Addrs, register(t, p.Addrs, alice)).ICE(ctx, client.NewID())
	if err != nil {
		t.Fatal(err)
	}
	allocate(t, ice)
}

// allocate opens an allocation on the relay among the servers, for a moment.
func allocate(t *testing.T, ice protocol.ICE) {
	t.Helper()
	s := ice.Servers[len(ice.Servers)-1]
	addr, _, _ := strings.Cut(strings.TrimPrefix(s.URLs[0], "turn:"), "?")
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c, err := turn.NewClient(&turn.ClientConfig{
		TURNServerAddr: addr, Conn: conn, Username: s.Username, Password: s.Credential,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	defer c.Close()
	if err := c.Listen(); err != nil {
		t.Fatal(err)
	}
	relayed, err := c.Allocate()
	if err != nil {
		t.Fatal(err)
	}
	relayed.Close()
}

package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"switchboard/signaling/auth"
	"switchboard/signaling/client"
	"switchboard/signaling/protocol"
)

const carol = "+14155550103"

// TestAccounts has somebody remove a device, change the number and delete the
// account, with devices on two nodes.
func TestAccounts(t *testing.T) {
	server := startNATS(t).ClientURL()
	first, second := clusterNode(t, server, "one"), clusterNode(t, server, "two")
	second.config.SecretFile = first.config.SecretFile
	first.config.Auth.CodeResend = 0
	p1, p2 := start(t, first), start(t, second)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	phone, laptop, away := register(t, p1.Addrs, alice), register(t, p1.Addrs, alice), register(t, p1.Addrs, alice)
	b := connect(t, p1.Addrs, register(t, p1.Addrs, bob))
	a, l := connect(t, p1.Addrs, phone), connect(t, p2.Addrs, laptop)
	account := a.Welcome().Account

	devices, err := client.Devices(ctx, p2.URL, phone)
	if err != nil || len(devices) != 3 || !devices[0].This || !devices[1].Online || devices[2].Online || devices[1].Name != "test phone" {
		t.Fatalf("devices: %+v, %v", devices, err)
	}

	// A text waits for the device that is away; the account takes another number.
	send(t, b, alice, "before")
	if got := awaitText(t, a); got.Body != "before" {
		t.Fatal(got.Body)
	}
	asked, err := client.RequestNumber(ctx, p1.URL, phone, "415-555-0103", "US")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.ConfirmNumber(ctx, p1.URL, phone, asked.Verification, codeFor(t, p1.Codes, carol)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*client.Client{a, l} { // their sessions ended, on both nodes
		for c.Number().E164() != carol {
			await[client.Connected](t, c)
		}
	}
	d := connect(t, p2.Addrs, away) // with its old token
	if got := awaitText(t, d); got.Body != "before" || d.Number().E164() != carol || d.Welcome().Account != account {
		t.Errorf("the device that was away got %q, at %v", got.Body, d.Number().E164())
	}
	send(t, b, carol, "after")
	if got := awaitText(t, d); got.Body != "after" {
		t.Errorf("got %q", got.Body)
	}
	callThrough(t, b, a)
	if _, err := b.Send(ctx, client.NewID(), alice, "nobody"); protocol.CodeOf(err) != protocol.CodeNotFound {
		t.Errorf("to the old number: %v", err)
	}

	// A device is removed by another, on another node.
	if err := client.RemoveDevice(ctx, p1.URL, phone, devices[1].Device); err != nil {
		t.Fatal(err)
	}
	ended(t, l, protocol.CloseToken)

	// What waits for a device that is away goes with the account.
	d.Close()
	if _, err := a.SyncContacts(ctx, []string{bob}, true); err != nil {
		t.Fatal(err)
	}
	send(t, b, carol, "never read")
	if len(traces(t, server, account)) < 5 {
		t.Errorf("of the account there are %v", traces(t, server, account))
	}
	if asked, err = client.RequestDelete(ctx, p1.URL, phone); err != nil {
		t.Fatal(err)
	}
	if err := client.DeleteAccount(ctx, p2.URL, phone, asked.Verification, codeFor(t, p1.Codes, carol)); err != nil {
		t.Fatal(err)
	}
	ended(t, a, protocol.CloseToken)
	if left := traces(t, server, account); len(left) != 0 {
		t.Errorf("of the deleted account there are %v", left)
	}
	if _, err := b.Send(ctx, client.NewID(), carol, "nobody"); protocol.CodeOf(err) != protocol.CodeNotFound {
		t.Errorf("to the deleted account: %v", err)
	}
	if _, err := client.Devices(ctx, p1.URL, phone); protocol.CodeOf(err) != protocol.CodeToken {
		t.Errorf("with a token of the deleted account: %v", err)
	}
	again := connect(t, p1.Addrs, register(t, p1.Addrs, carol))
	if again.Welcome().Account == account {
		t.Error("the number leads to the deleted account")
	}
	callThrough(t, b, again)
}

// ended waits until a client has ended for good.
func ended(t *testing.T, c *client.Client, code protocol.CloseCode) {
	t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case _, open := <-c.Events():
			if open {
				continue
			}
			if end, ok := errors.AsType[*client.EndError](c.Err()); !ok || end.Code != code {
				t.Fatalf("ended with %v, want %v", c.Err(), code)
			}
			return
		case <-timeout:
			t.Fatal("the session goes on")
		}
	}
}

// traces lists the messages of all streams that name an account, but for records
// of calls and codes, which end by themselves, and for what others have.
func traces(t *testing.T, url, account string) (found []string) {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	names := js.StreamNames(t.Context())
	for name := range names.Name() {
		if strings.HasSuffix(name, "CALLS") || strings.HasSuffix(name, "CODES") {
			continue
		}
		s, err := js.Stream(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		for seq := max(1, s.CachedInfo().State.FirstSeq); seq <= s.CachedInfo().State.LastSeq; seq++ {
			m, err := s.GetMsg(t.Context(), seq)
			if errors.Is(err, jetstream.ErrMsgNotFound) || err == nil && slices.Contains([]string{"DEL", "PURGE"}, m.Header.Get("KV-Operation")) {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(m.Subject, account) || bytes.Contains(m.Data, []byte(account)) && !strings.Contains(m.Subject, "inbox.") {
				found = append(found, m.Subject)
			}
		}
	}
	if names.Err() != nil {
		t.Fatal(names.Err())
	}
	return found
}

// TestTokenKeysAreChanged goes from the derived key to one in a file.
func TestTokenKeysAreChanged(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token-key")
	if err := os.WriteFile(file, auth.GenerateKey(), 0o600); err != nil {
		t.Fatal(err)
	}
	master := Secret{bytes.Repeat([]byte{7}, secretSize)}
	keys := func(files ...string) auth.Keys {
		t.Helper()
		k, err := tokenKeys(files, master)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	derived, both, next := keys(auth.DerivedKey), keys(auth.DerivedKey, file), keys(file, auth.DerivedKey)
	if both[0].ID != derived[0].ID || next[1].ID != derived[0].ID || next[0].ID != both[1].ID || keys(file)[0].ID != next[0].ID {
		t.Errorf("keys %v, %v, %v", derived, both, next)
	}
	for _, files := range [][]string{nil, {file, file}, {filepath.Join(t.TempDir(), "none")}, {file, auth.DerivedKey, file}} {
		if _, err := tokenKeys(files, master); err == nil || !strings.Contains(err.Error(), "auth.token_key_files") {
			t.Errorf("%d files: %v", len(files), err)
		}
	}
}

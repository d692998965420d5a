package main

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// FuzzClientBehind writes headers as anybody can: nobody but a trusted proxy may
// choose who the client is, and what is chosen is an address.
func FuzzClientBehind(f *testing.F) {
	f.Add("10.0.0.1:4000", "198.51.100.1, 10.2.3.4")
	f.Add("203.0.113.9:4000", "198.51.100.1")
	f.Add("[::ffff:10.0.0.1]:1", "::ffff:1.2.3.4, fe80::1%eth0,,")
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	f.Fuzz(func(t *testing.T, peer, header string) {
		r := &http.Request{RemoteAddr: peer, Header: http.Header{"X-Forwarded-For": {header}}}
		client, ok := clientBehind(trusted, r)
		if !ok {
			return
		}
		from, err := netip.ParseAddrPort(peer)
		if err != nil || !contains(trusted, from.Addr()) {
			t.Errorf("%q may say who the client is", peer)
		}
		if !client.IsValid() || client.Is4In6() || client.Zone() != "" {
			t.Errorf("client %v is not an address in its plain form", client)
		}
	})
}

// secretWord stands for something that no error may show.
const secretWord = "qzxvkj"

// FuzzDecode reads files: one that is refused is told of in words that show
// nothing of what was set, which may be a secret.
func FuzzDecode(f *testing.F) {
	f.Add("drain_deadline: %s\nhttp: {listen: [%s]}")
	f.Add("relay: {secrets: [{id: %s, key: %s}, {id: a, key: a}]}")
	f.Add("roles: {a: %s}\nlog: {level: %s}\nlog: %s")
	f.Add("http: {trusted_proxies: [%s, 10.0.0.0/8]}")
	f.Fuzz(func(t *testing.T, text string) {
		text = strings.ReplaceAll(text, "%s", secretWord)
		c := Default()
		err := decode(&c, []byte(text))
		if err != nil && strings.Contains(err.Error(), secretWord) && !mayBeAName(text) {
			t.Errorf("an error shows a value: %v", err)
		}
	})
}

// mayBeAName reports whether the secret is the name of a key, or of an anchor,
// which errors do show.
func mayBeAName(text string) bool {
	var doc yaml.Node
	if yaml.Unmarshal([]byte(text), &doc) != nil {
		return strings.ContainsAny(text, "&*")
	}
	var walk func(n *yaml.Node) bool
	walk = func(n *yaml.Node) bool {
		for i, below := range n.Content {
			if n.Kind == yaml.MappingNode && i%2 == 0 && strings.Contains(below.Value, secretWord) || walk(below) {
				return true
			}
		}
		return false
	}
	return walk(&doc)
}

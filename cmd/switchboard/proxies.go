package main

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// behindProxies sets RemoteAddr to the client's address where a request comes
// through trusted proxies, so that limits count clients and not the proxy. The
// header is read from its end, which the nearest proxy wrote; the first address
// that is no trusted proxy is the client. What an untrusted peer sends is
// ignored: anybody can write a header.
func behindProxies(trusted []netip.Prefix, next http.Handler) http.Handler {
	if len(trusted) == 0 {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if client, ok := clientBehind(trusted, r); ok {
			r = r.WithContext(r.Context()) // a copy
			r.RemoteAddr = net.JoinHostPort(client.String(), "0")
		}
		next.ServeHTTP(w, r)
	})
}

func clientBehind(trusted []netip.Prefix, r *http.Request) (client netip.Addr, ok bool) {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !contains(trusted, peer.Addr()) {
		return netip.Addr{}, false
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		addr, err := netip.ParseAddr(strings.TrimSpace(hop))
		if err != nil {
			return client, ok
		}
		client, ok = addr.Unmap().WithZone(""), true
		if !contains(trusted, client) {
			return client, true
		}
	}
	return client, ok
}

func contains(prefixes []netip.Prefix, a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	return slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
}

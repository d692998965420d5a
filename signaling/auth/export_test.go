package auth

import "net/http"

// Transport makes s post through rt.
func (s *WebhookSender) Transport(rt http.RoundTripper) { s.client.Transport = rt }

// KeysTransport makes a read the keys of external tokens through rt.
func (a *Authenticator) KeysTransport(rt http.RoundTripper) { a.external.keys.client.Transport = rt }

// SourceOf is what requests from an address are counted by.
func SourceOf(remote string) string { return sourceOf(remote).String() }

// Package labrelay runs the product's relay on a host of a [natlab.World]: the same
// [relay.Server] that serves people, with its policy of peers in force, on sockets in
// memory.
//
//	r, err := labrelay.Start(world.Internet().AddHost("relay"), labrelay.Options{})
//	defer r.Close()
//	servers := []webrtc.ICEServer{{URLs: r.URLs(), Username: …, Credential: …}} // of r.Mint
//
// It listens on 3478 for UDP and TCP, and on 443 for TLS, with a certificate of the lab's own
// authority unless it is given another. Clients trust that by [Roots], or by [TrustRoots]
// where nobody asks them.
//
// [Relay] owns the goroutine that serves, and waits for it in [Relay.Close] and
// [Relay.Kill]. In a bubble of testing/synctest, start it there and end it there.
package labrelay

package labrelay_test

import (
	"context"
	"fmt"
	"log"

	"switchboard/relay/natlab"
	"switchboard/relay/natlab/labrelay"
)

// A client behind a symmetric NAT hears a peer through a relay.
func ExampleStart() {
	w := natlab.NewWorld(1)
	defer w.Close()
	r, err := labrelay.Start(w.Internet().AddHost("relay"), labrelay.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()

	home := w.Internet().AddRouter("nat", natlab.RouterSpec{NAT: &natlab.Symmetric}, natlab.NetworkSpec{})
	alice, err := r.Client(context.Background(), home.AddHost("alice"), "tls", "call", "alice")
	if err != nil {
		log.Fatal(err)
	}
	defer alice.Close()
	conn, err := alice.Allocate()
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()

	atPeer := w.Internet().AddHost("peer")
	peer, err := atPeer.ListenPacket("udp4", fmt.Sprintf("%v:0", atPeer.Addrs()[0]))
	if err != nil {
		log.Fatal(err)
	}
	defer peer.Close()
	if err := alice.CreatePermission(peer.LocalAddr()); err != nil {
		log.Fatal(err)
	}
	if _, err := peer.WriteTo([]byte("hello"), conn.LocalAddr()); err != nil {
		log.Fatal(err)
	}
	b := make([]byte, 1500)
	n, _, err := conn.ReadFrom(b)
	fmt.Println(string(b[:n]), err)
	// Output: hello <nil>
}

// Package loopback finds ports for the servers of tests and trials that must
// know each other's before they run, or have the same ones again after they were
// killed.
package loopback

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
)

// The ports to choose from: below those that systems give to outgoing
// connections, one of which would otherwise take a killed server's port before
// it is back.
const (
	least = 15_000
	most  = 32_000
)

// attempts bounds how many ports are tried for each that is wanted.
const attempts = 100

// Ports returns n ports of 127.0.0.1 on which nobody listened a moment ago, by
// TCP or UDP. It may be called concurrently.
func Ports(n int) (ports []int, err error) {
	for tries := 0; len(ports) < n; tries++ {
		if tries == attempts*n {
			return nil, fmt.Errorf("%d free ports of %d are not to be had: %w", n, most-least, err)
		}
		port := least + rand.IntN(most-least)
		var release func()
		if release, err = take(port); err != nil {
			continue
		}
		defer release() // only at the end: the next must be another
		ports = append(ports, port)
	}
	return ports, nil
}

func take(port int) (release func(), err error) {
	address := fmt.Sprintf("127.0.0.1:%d", port)
	tcp, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	udp, err := net.ListenPacket("udp", address)
	if err != nil {
		return nil, errors.Join(err, tcp.Close())
	}
	return func() { tcp.Close(); udp.Close() }, nil
}

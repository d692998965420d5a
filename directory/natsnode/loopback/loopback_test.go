package loopback_test

import (
	"fmt"
	"net"
	"testing"

	"switchboard/directory/natsnode/loopback"
)

func TestPorts(t *testing.T) {
	ports, err := loopback.Ports(50)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[int]bool{}
	for _, p := range ports {
		if seen[p] || p >= 32_768 { // where Linux begins to give them to outgoing connections
			t.Errorf("%d: twice, or one that the system gives away", p)
		}
		seen[p] = true
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", p))
		if err != nil {
			t.Error(err)
			continue
		}
		defer l.Close()
	}
}

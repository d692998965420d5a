package labrelay

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"switchboard/relay/natlab"
)

// ErrTrespass says that a client has heard somebody whom it had not permitted to be heard
// (RFC 8656 section 9): anybody can send into calls.
var ErrTrespass = errors.New("labrelay: a client hears who has no permission")

const (
	// hearWithin is how long packets may take through the lab, there and back.
	hearWithin = 2 * time.Second
	// tries is how often each is sent, as some may be lost.
	tries = 5
)

// CheckPermissions has a client on one host open an allocation, and a stranger on another,
// which is in the internet, send to it. It returns an error that is [ErrTrespass] if the
// client hears the stranger without a permission, whether it has permitted somebody else or
// nobody; and another one if it does not hear him with a permission: then it would show
// nothing that it had not before. It takes a few seconds, of which ctx bounds nothing but
// connecting.
func (r *Relay) CheckPermissions(ctx context.Context, client, stranger *natlab.Host) error {
	c, err := r.Client(ctx, client, "udp", "permissions", client.Name())
	if err != nil {
		return err
	}
	defer c.Close()
	relayed, err := c.Allocate()
	if err != nil {
		return fmt.Errorf("labrelay: allocate: %w", err)
	}
	defer relayed.Close()
	to := relayed.LocalAddr()
	from, err := strangerTo(stranger, to)
	if err != nil {
		return fmt.Errorf("labrelay: stranger: %w", err)
	}
	defer from.Close()
	for _, step := range []struct {
		permit net.Addr
		heard  bool
	}{{nil, false}, {to, false}, {from.LocalAddr(), true}} {
		if step.permit != nil {
			if err := c.CreatePermission(step.permit); err != nil {
				return fmt.Errorf("labrelay: permission: %w", err)
			}
		}
		switch heard, err := hears(relayed, from); {
		case err != nil:
			return err
		case heard && !step.heard:
			return ErrTrespass
		case !heard && step.heard:
			return errors.New("labrelay: a client does not hear who has a permission")
		}
	}
	return nil
}

// strangerTo returns a socket on a host, bound to an address of the family of another.
func strangerTo(h *natlab.Host, to net.Addr) (net.PacketConn, error) {
	at, ok := to.(*net.UDPAddr)
	if !ok {
		return nil, fmt.Errorf("%v is no address of UDP", to)
	}
	for _, a := range h.Addrs() {
		if a.Is4() == at.AddrPort().Addr().Unmap().Is4() {
			return h.ListenPacket("udp", netip.AddrPortFrom(a, 0).String())
		}
	}
	return nil, fmt.Errorf("%s has no address that could send to %v", h.Name(), to)
}

// hears reports whether what a stranger sends to an allocation reaches its client.
func hears(relayed, from net.PacketConn) (bool, error) {
	const text = "from a stranger"
	for range tries {
		if _, err := from.WriteTo([]byte(text), relayed.LocalAddr()); err != nil {
			return false, fmt.Errorf("labrelay: stranger: %w", err)
		}
	}
	if err := relayed.SetReadDeadline(time.Now().Add(hearWithin)); err != nil {
		return false, err
	}
	b := make([]byte, 2048)
	for {
		n, _, err := relayed.ReadFrom(b)
		switch e := net.Error(nil); {
		case errors.As(err, &e) && e.Timeout():
			return false, nil
		case err != nil:
			return false, fmt.Errorf("labrelay: client: %w", err)
		case string(b[:n]) == text:
			return true, nil
		}
	}
}

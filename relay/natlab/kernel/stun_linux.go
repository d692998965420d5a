package kernel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"time"

	"switchboard/relay/natlab"
	"switchboard/relay/natlab/discovery"
)

// stunName is that of the namespace of the probes' server: no host can be called so.
const stunName = "_stun"

const stunPort = 3478

// stunServer is coturn's turnserver on a machine of the internet with two addresses
// (RFC 5780), and what accepts connections on [TCPPorts] there. It runs until the lab is
// closed.
type stunServer struct {
	addr   netip.AddrPort
	exited chan struct{}
}

// stun starts the server, or returns the one that runs.
func (l *Lab) stun(ctx context.Context) (*stunServer, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, errClosed
	}
	if l.server != nil {
		return l.server, nil
	}
	if _, err := exec.LookPath("turnserver"); err != nil {
		return nil, fmt.Errorf("probes need coturn's server: %w", err)
	}
	if err := l.stunSpace(ctx); err != nil {
		return nil, err
	}
	s := &stunServer{addr: netip.AddrPortFrom(l.plan.stun[0][0], stunPort), exited: make(chan struct{})}
	if err := l.runStun(s); err != nil {
		return nil, err
	}
	if err := l.awaitStun(ctx, s); err != nil {
		return nil, err
	}
	l.server = s
	return s, nil
}

// stunSpace makes the server's namespace, unless an earlier call has.
func (l *Lab) stunSpace(ctx context.Context) error {
	if l.stunAt != nil {
		return nil
	}
	addrs := []netip.Addr{l.plan.stun[0][0], l.plan.stun[1][0]}
	for _, a := range addrs {
		if !l.plan.prefix(natlab.Internet, 0).Contains(a.Next()) {
			return errors.New("probes: the internet has no IPv4 addresses left for their server")
		}
	}
	if err := l.writeFiles(stunName); err != nil {
		return err
	}
	s, err := newSpace(l.Namespace(stunName))
	if err != nil {
		return err
	}
	b := batch{l.veth(stunName, "eth0", natlab.Internet, port(stunName))}
	b.add("link set dev %s master %s up", port(stunName), bridgeDev)
	if err := l.spaces[natlab.Internet].ip(ctx, b); err != nil {
		return errors.Join(err, s.close())
	}
	own := append(batch{"link set dev lo up"}, l.plan.own(natlab.Internet, "eth0", "", addrs, 1000)...)
	if err := errors.Join(s.finishSums(), l.spaces[natlab.Internet].finishSums(), s.ip(ctx, own)); err != nil {
		return errors.Join(err, s.close())
	}
	l.stunAt = s
	return nil
}

// runStun starts the server's process and listeners. mu is held.
func (l *Lab) runStun(s *stunServer) error {
	space := l.stunAt
	c := l.Command(l.ended, stunName, "turnserver", "-n", "--stun-only", "--listening-port", fmt.Sprint(stunPort), "--alt-listening-port", fmt.Sprint(stunPort+1),
		"-L", l.plan.stun[0][0].String(), "-L", l.plan.stun[1][0].String(), "--no-tls", "--no-dtls", "--no-tcp", "--no-cli", "--relay-threads", "1",
		"--log-file", "/dev/null", "--pidfile", "/dev/null")
	c.prepare()
	if err := space.Do(c.Cmd.Start); err != nil {
		return fmt.Errorf("probes: %w", err)
	}
	l.running.Go(func() {
		defer close(s.exited)
		c.Wait()
	})
	for _, port := range TCPPorts {
		var ln net.Listener
		err := space.Visit(func() (err error) {
			ln, err = net.Listen("tcp", netip.AddrPortFrom(s.addr.Addr(), port).String())
			return err
		})
		if err != nil {
			return fmt.Errorf("probes: %w", err)
		}
		context.AfterFunc(l.ended, func() { ln.Close() })
		l.running.Go(func() { greet(ln) })
	}
	return nil
}

// greet accepts connections, which is all that they are for.
func greet(ln net.Listener) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		c.Close()
	}
}

// stunWithin is by when the server answers, on a machine that is busy with other things,
// too.
const stunWithin = 20 * time.Second

// awaitStun waits until the server answers, each time for longer.
func (l *Lab) awaitStun(ctx context.Context, s *stunServer) error {
	ctx, cancel := context.WithTimeout(ctx, stunWithin)
	defer cancel()
	for wait := 20 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		c := discovery.Client{
			Listen: func() (c net.PacketConn, err error) {
				err = l.stunAt.Visit(func() (err error) {
					c, err = net.ListenPacket("udp4", ":0")
					return err
				})
				return c, err
			},
			Server: s.addr,
			Wait:   wait,
		}
		_, err := c.Mapping(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-s.exited:
			return errors.New("probes: coturn's server has ended")
		case <-ctx.Done():
			return fmt.Errorf("probes: coturn's server is not ready: %w", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

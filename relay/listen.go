package relay

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/pion/turn/v5"
)

// listeners are the sockets that clients reach.
type listeners struct {
	udp []*packetGuard // all on one port
	tcp *streamListener
	tls *streamListener // nil without a certificate
}

func (l *listeners) streams() []*streamListener {
	var out []*streamListener
	for _, s := range []*streamListener{l.tcp, l.tls} {
		if s != nil {
			out = append(out, s)
		}
	}
	return out
}

func (l *listeners) addrs() Addrs {
	a := Addrs{UDP: l.udp[0].LocalAddr(), TCP: l.tcp.Addr()}
	if l.tls != nil {
		a.TLS = l.tls.Addr()
	}
	return a
}

// close closes all of them, so that nothing new comes.
func (l *listeners) close() error {
	var err error
	for _, p := range l.udp {
		err = errors.Join(err, p.Close())
	}
	for _, s := range l.streams() {
		err = errors.Join(err, s.Close())
		s.accepting.Wait()
	}
	return err
}

// end ends what receives for the listeners, and for relay sockets, when all are closed.
func (l *listeners) end() (err error) {
	for _, p := range l.udp {
		err = errors.Join(err, p.loop.Close())
	}
	return err
}

// listen opens the listeners.
func (s *Server) listen() (*listeners, error) {
	udp, tcp, err := listenBoth(s.network, s.config.Listen, s.config.listeners())
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	l := &listeners{tcp: newStreamListener(tcp, overTCP, nil, s.guard, s.connections)}
	for _, conn := range udp {
		front, failed := newPacketGuard(conn, s.guard, s.flows, s.generator.how)
		if failed != nil {
			err = errors.Join(err, failed)
			continue
		}
		if s.metrics.kernel != nil {
			s.metrics.kernel.watch(front.socket)
		}
		l.udp = append(l.udp, front)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen: %w", err), l.close(), l.end())
	}
	if s.tls != nil {
		ln, err := s.network.listen(s.config.TLS.Listen)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("tls.listen: %w", err), l.close(), l.end())
		}
		l.tls = newStreamListener(ln, overTLS, s.tls, s.guard, s.connections)
	}
	var services []uint16
	services = append(services, uint16(l.udp[0].LocalAddr().(*net.UDPAddr).Port))
	for _, stream := range l.streams() {
		services = append(services, uint16(stream.Addr().(*net.TCPAddr).Port))
	}
	s.policy.setServices(services...)
	return l, nil
}

// listenBoth listens on one port for TCP and for UDP, with so many sockets. When the
// kernel is to choose it, the port that is free for one may not be for the other.
func listenBoth(n network, addr string, sockets int) ([]net.PacketConn, net.Listener, error) {
	tries := 1
	host, port, err := net.SplitHostPort(addr)
	if err == nil && port == "0" {
		tries = 16
	}
	for range tries {
		var ln net.Listener
		if ln, err = n.listen(addr); err != nil {
			return nil, nil, err
		}
		same := net.JoinHostPort(host, strconv.Itoa(ln.Addr().(*net.TCPAddr).Port))
		var udp []net.PacketConn
		if udp, err = n.listenUDP(same, sockets); err == nil {
			return udp, ln, nil
		}
		ln.Close()
	}
	return nil, nil, err
}

// open starts the TURN library, once for each transport, so that what it tells can be
// told apart.
func (s *Server) open(l *listeners) ([]*turn.Server, error) {
	var fronts []*turn.Server
	config := s.libraryConfig(overUDP)
	for _, p := range l.udp {
		config.PacketConnConfigs = append(config.PacketConnConfigs, turn.PacketConnConfig{
			PacketConn: s.facing(p), RelayAddressGenerator: s.generator.of(p, p.loop), PermissionHandler: s.mayPermit(overUDP),
		})
	}
	front, err := turn.NewServer(config)
	if err != nil {
		return nil, err
	}
	fronts = append(fronts, front)
	for i, stream := range l.streams() {
		config := s.libraryConfig(stream.over)
		config.ListenerConfigs = []turn.ListenerConfig{{
			Listener: stream, RelayAddressGenerator: s.generator.of(nil, l.udp[i%len(l.udp)].loop), PermissionHandler: s.mayPermit(stream.over),
		}}
		front, err := turn.NewServer(config)
		if err != nil {
			return fronts, err
		}
		fronts = append(fronts, front)
		stream.start()
	}
	return fronts, nil
}

// closeWithin bounds the wait for the library, which has nothing to wait for.
const closeWithin = 5 * time.Second

// close ends what clients reach, and with it all allocations, and returns when
// no goroutine is left that has to do with them.
func (s *Server) close(l *listeners, fronts []*turn.Server) error {
	s.table.ending.Store(true)
	err := l.close()
	for _, f := range fronts {
		err = errors.Join(err, f.Close())
	}
	s.connections.closeAll()
	for _, stream := range l.streams() {
		stream.shaking.Wait()
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeWithin)
	defer cancel()
	if left := s.table.wait(ctx); left != nil {
		err = errors.Join(err, fmt.Errorf("allocations that do not end: %w", left))
	}
	return errors.Join(err, l.end())
}

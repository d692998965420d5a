package relay

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/stun/v4"
)

// cutConn is a TCP connection from which bytes come in pieces of a length.
type cutConn struct {
	net.Conn // none: what is not below is not used
	rest     []byte
	piece    int
	out      bytes.Buffer
}

func (c *cutConn) Read(p []byte) (int, error) {
	if len(c.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), c.piece)], c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

func (c *cutConn) Write(p []byte) (int, error)      { return c.out.Write(p) }
func (c *cutConn) Close() error                     { return nil }
func (c *cutConn) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(1, 1, 1, 1), Port: 5000} }
func (c *cutConn) SetDeadline(time.Time) error      { return nil }
func (c *cutConn) SetReadDeadline(time.Time) error  { return nil }
func (c *cutConn) SetWriteDeadline(time.Time) error { return nil }

// FuzzStream reads anything from a connection, in pieces of any length. What is passed
// on is one whole message at a time, and none is passed on that is not in the stream.
func FuzzStream(f *testing.F) {
	binding := stun.MustBuild(stun.TransactionID, stun.BindingRequest).Raw
	data := []byte{0x40, 0, 0, 5, 1, 2, 3, 4, 5, 0, 0, 0}
	f.Add(binding, uint8(1), false)
	f.Add(append(bytes.Clone(binding), binding...), uint8(7), true)
	f.Add(append(append(bytes.Clone(data), data...), binding...), uint8(3), true)
	f.Add([]byte{0x40, 0, 0xff, 0xfc, 0, 0, 0, 0, 0}, uint8(200), true)
	f.Add(append([]byte{0x40, 0, 0x06, 0xd6}, make([]byte, 1752)...), uint8(255), true)
	f.Add([]byte{0x00, 0x01, 0xff, 0xfc, 0x21, 0x12, 0xa4, 0x42}, uint8(8), false)
	g := testGuard()
	l := newStreamListener(nil, overTCP, nil, g, newConnections(Default().Limits, g.metrics))
	f.Fuzz(func(t *testing.T, b []byte, piece uint8, allocated bool) {
		c := newStreamConn(l, &cutConn{rest: bytes.Clone(b), piece: int(piece) + 1})
		if _, ok := l.connections.enter(c); !ok {
			t.Fatal("no room")
		}
		delete(g.table.byClient, c.client)
		if allocated {
			g.table.byClient[c.client] = &allocation{client: c.client, relay: netip.MustParseAddrPort("5.5.5.5:50000")}
		}
		p := make([]byte, maxMessage+1)
		for rest := b; ; {
			n, err := c.Read(p)
			if err != nil {
				if n != 0 {
					t.Errorf("%d bytes and %v", n, err)
				}
				break
			}
			length, err := frameLength(p[:n])
			if err != nil || length == 0 || length > n || length > maxMessage {
				t.Fatalf("%d bytes, of which the frame has %d: %v", n, length, err)
			}
			if n != length && !bytes.Equal(p[length:n], filler(length)) {
				t.Errorf("%x follows a frame", p[length:n])
			}
			at := bytes.Index(rest, p[:4])
			if at < 0 {
				t.Fatalf("%x is not in the stream", p[:length])
			}
			if isData(p[:length]) && !allocated {
				t.Error("data of a stranger")
			}
			if !isData(p[:length]) && binary.BigEndian.Uint32(p[4:]) != magicCookie {
				t.Error("no magic cookie")
			}
			rest = rest[at+4:]
		}
		if _, err := c.Read(p); err == nil || errors.Is(err, io.ErrNoProgress) {
			t.Errorf("after the end: %v", err)
		}
		if n := len(l.connections.open); n != 0 {
			t.Errorf("%d connections are open after the end", n)
		}
	})
}

package doctor

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"net"
	"time"

	"github.com/pion/stun/v4"
)

// maxMessage is the longest message that is read, in bytes.
const maxMessage = 4096

// link carries messages to a relay and back, over UDP or on a stream.
type link struct {
	conn   net.Conn
	stream *bufio.Reader // nil over UDP
	buf    []byte
}

// dial opens a link. Certificates are not judged here.
func (d *doctor) dial(ctx context.Context, r route) (*link, error) {
	ctx, cancel := context.WithDeadline(ctx, d.until(ctx))
	defer cancel()
	network := "tcp"
	if r.over == "udp" {
		network = "udp"
	}
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, network, r.at.String())
	if err != nil {
		return nil, err
	}
	l := &link{conn: conn, buf: make([]byte, maxMessage)}
	switch r.over {
	case "tcp":
		l.stream = bufio.NewReaderSize(conn, maxMessage)
	case "tls":
		secure := tls.Client(conn, &tls.Config{
			ServerName: d.Target.serverName(), InsecureSkipVerify: true, // judged by itself, so that the rest is looked at, too
			NextProtos: []string{"stun.turn"},
		})
		if err := secure.HandshakeContext(ctx); err != nil {
			conn.Close()
			return nil, err
		}
		l.conn, l.stream = secure, bufio.NewReaderSize(secure, maxMessage)
	}
	return l, nil
}

func (l *link) close() { l.conn.Close() }

func (l *link) send(b []byte, until time.Time) error {
	if l.stream != nil && isChannelData(b) {
		b = append(b[:len(b):len(b)], make([]byte, -len(b)&3)...) // RFC 8656 section 12.5
	}
	l.conn.SetWriteDeadline(until)
	_, err := l.conn.Write(b)
	return err
}

// receive returns the next message, which is good until the next call.
func (l *link) receive(until time.Time) ([]byte, error) {
	l.conn.SetReadDeadline(until)
	if l.stream == nil {
		n, err := l.conn.Read(l.buf)
		return l.buf[:n], err
	}
	head, err := l.stream.Peek(channelHeader)
	if err != nil {
		return nil, err
	}
	length := int(binary.BigEndian.Uint16(head[2:]))
	n, padded := stunHeader+length, stunHeader+length
	if isChannelData(head) {
		n, padded = channelHeader+length, channelHeader+(length+3)&^3
	}
	if padded > maxMessage {
		return nil, errors.New("a message that is too long")
	}
	b, err := l.stream.Peek(padded) // what came so far stays for the next call
	if err != nil {
		return nil, err
	}
	copy(l.buf, b[:n])
	l.stream.Discard(padded)
	return l.buf[:n], nil
}

const (
	stunHeader    = 20
	channelHeader = 4
)

func isChannelData(b []byte) bool { return len(b) >= channelHeader && b[0]>>6 == 1 }

var errNoAnswer = errors.New("no answer")

// transmit is how long to wait before a request is sent again over UDP; it doubles
// (RFC 8489 section 6.2.1).
const transmit = 300 * time.Millisecond

// ask sends a request and returns the answer to it. What else comes goes to aside,
// if that is not nil.
func (l *link) ask(m *stun.Message, until time.Time, aside func([]byte)) (*stun.Message, error) {
	for wait := transmit; ; wait *= 2 {
		if err := l.send(m.Raw, until); err != nil {
			return nil, err
		}
		turn := time.Now().Add(wait)
		if turn.After(until) || l.stream != nil {
			turn = until
		}
		answer, err := l.answer(m, turn, aside)
		if answer != nil || !isTimeout(err) {
			return answer, err
		}
		if !turn.Before(until) {
			return nil, errNoAnswer
		}
	}
}

func (l *link) answer(to *stun.Message, until time.Time, aside func([]byte)) (*stun.Message, error) {
	for {
		b, err := l.receive(until)
		if err != nil {
			return nil, err
		}
		if stun.IsMessage(b) {
			m := &stun.Message{Raw: append([]byte(nil), b...)}
			if m.Decode() == nil && m.TransactionID == to.TransactionID {
				return m, nil
			}
		}
		if aside != nil {
			aside(append([]byte(nil), b...))
		}
	}
}

func isTimeout(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}

package labrelay

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"

	"github.com/pion/logging"
	"github.com/pion/turn/v5"

	"switchboard/relay/natlab"
)

// Client is a TURN client on a host. It is closed before its host's world is.
type Client struct {
	*turn.Client
	conn net.PacketConn
}

// Client returns a TURN client on a host that reaches the relay over udp, tcp or tls, with
// credentials of a user in a call. It listens; what it has allocated ends with it, or when
// the relay no longer hears of it. ctx bounds how long connecting takes.
func (r *Relay) Client(ctx context.Context, h *natlab.Host, over, call, user string) (*Client, error) {
	username, password, _ := r.Mint(call, user)
	return r.ClientWith(ctx, h, over, username, password)
}

// ClientWith is Client with credentials.
func (r *Relay) ClientWith(ctx context.Context, h *natlab.Host, over, username, password string) (*Client, error) {
	conn, to, err := r.dial(ctx, h, over)
	if err != nil {
		return nil, fmt.Errorf("labrelay: over %s: %w", over, err)
	}
	c, err := turn.NewClient(&turn.ClientConfig{
		STUNServerAddr: to, TURNServerAddr: to, Username: username, Password: password, Realm: r.config.Realm,
		Conn: conn, Net: h.Net(), LoggerFactory: quiet(),
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("labrelay: %w", err), conn.Close())
	}
	if err := c.Listen(); err != nil {
		c.Close()
		return nil, errors.Join(fmt.Errorf("labrelay: %w", err), conn.Close())
	}
	return &Client{c, conn}, nil
}

// dial returns a socket to the relay, and where the relay is.
func (r *Relay) dial(ctx context.Context, h *natlab.Host, over string) (net.PacketConn, string, error) {
	at := net.JoinHostPort(r.host.Name(), fmt.Sprint(Port))
	switch over {
	case "udp":
		to, err := h.Net().ResolveUDPAddr("udp", at)
		if err != nil {
			return nil, "", err
		}
		family := "udp6"
		if to.AddrPort().Addr().Unmap().Is4() {
			family = "udp4" // or else the client would ask for the other
		}
		conn, err := h.ListenPacket(family, ":0")
		return conn, to.String(), err
	case "tcp":
		conn, err := h.DialContext(ctx, "tcp", at)
		if err != nil {
			return nil, "", err
		}
		return turn.NewSTUNConn(conn), conn.RemoteAddr().String(), nil
	case "tls":
		conn, err := h.DialContext(ctx, "tcp", net.JoinHostPort(r.host.Name(), fmt.Sprint(TLSPort)))
		if err != nil {
			return nil, "", err
		}
		roots, err := Roots()
		if err != nil {
			return nil, "", errors.Join(err, conn.Close())
		}
		secure := tls.Client(conn, &tls.Config{ServerName: r.host.Name(), RootCAs: roots, NextProtos: []string{"stun.turn"}})
		if err := secure.HandshakeContext(ctx); err != nil {
			return nil, "", errors.Join(err, conn.Close())
		}
		return turn.NewSTUNConn(secure), conn.RemoteAddr().String(), nil
	}
	return nil, "", fmt.Errorf("%q is not one of udp, tcp, tls", over)
}

// LocalAddr is the client's own address, in front of any NAT.
func (c *Client) LocalAddr() net.Addr { return c.conn.LocalAddr() }

// Close ends the client, whose goroutine is on its way out then. It does not tell the
// relay: close what has been allocated before.
func (c *Client) Close() {
	c.Client.Close()
	c.conn.Close() // fails only if it is closed already
}

func quiet() logging.LoggerFactory {
	return &logging.DefaultLoggerFactory{DefaultLogLevel: logging.LogLevelDisabled}
}

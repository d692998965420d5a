package virtual

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"switchboard/cmd/internal/phone"
	"switchboard/directory/e164"
	"switchboard/relay/natlab"
	"switchboard/signaling/client"
)

// The numbers of the two phones.
var numbers = [2]string{"+14155550101", "+14155550102"}

// handset is one phone: a host, a session and, later, a call.
type handset struct {
	l      *lab
	host   *natlab.Host
	client *client.Client

	media chan struct{} // closed with the first media
	once  sync.Once
}

// answered is what a phone's call came to.
type outcome struct {
	summary phone.Summary
	err     error
}

// connectWithin bounds a phone's way to its node, and how long a call may take to ring, in
// virtual time.
const connectWithin = time.Minute

// newHandset registers a number and connects its phone, to the first node that it
// reaches. Nodes are reached by TLS at port 443, which firewalls let through.
func (l *lab) newHandset(ctx context.Context, host string, number string) (*handset, error) {
	h := &handset{l: l, host: l.world.Host(host), media: make(chan struct{})}
	if h.host == nil {
		return nil, fmt.Errorf("no host %s", host)
	}
	n, err := e164.Parse(number, "")
	if err != nil {
		return nil, err
	}
	token, err := l.stores.register(ctx, n)
	if err != nil {
		return nil, err
	}
	var urls []string
	for _, name := range l.c.Signaling {
		urls = append(urls, "https://"+name)
	}
	ctx, cancel := context.WithTimeout(ctx, connectWithin)
	defer cancel()
	h.client, err = client.Dial(ctx, client.Options{
		URL: urls[0], Others: urls[1:], Token: token, Name: "natlab", Stay: true, Log: l.log.With("phone", host),
		Dialer: &websocket.Dialer{NetDialContext: h.host.DialContext, TLSClientConfig: l.trust(), HandshakeTimeout: 10 * time.Second},
	})
	if err != nil {
		return nil, fmt.Errorf("%s does not reach a node: %w", host, err)
	}
	return h, nil
}

func (l *lab) trust() *tls.Config { return &tls.Config{RootCAs: l.authority.pool} }

// knows makes another a contact, so that neither hides its addresses from the other.
func (h *handset) knows(ctx context.Context, number string) error {
	_, err := h.client.SyncContacts(ctx, []string{number}, true)
	return err
}

func (h *handset) options() phone.Options {
	return phone.Options{
		Net: h.host.Net(), RelayTLS: h.l.trust(),
		Warn: func(err error) { h.l.note(h.host.Name(), "warning: "+err.Error()) },
		Moment: func(m phone.Moment) {
			if m.What == phone.FirstMedia {
				h.once.Do(func() { close(h.media) })
			}
			h.l.note(h.host.Name(), m.String())
		},
	}
}

// place calls a number, and hangs up when ctx ends.
func (h *handset) place(ctx context.Context, number string) outcome {
	s, err := phone.Place(ctx, h.client, number, h.options())
	return outcome{s, err}
}

// answer takes the next call.
func (h *handset) answer(ctx context.Context) outcome {
	for {
		select {
		case e, ok := <-h.client.Events():
			if !ok {
				return outcome{err: fmt.Errorf("the session is over: %w", h.client.Err())}
			}
			if in, ok := e.(client.Incoming); ok {
				return h.take(ctx, in.Call)
			}
		case <-ctx.Done():
			return outcome{err: errors.New("no call came")}
		}
	}
}

// take answers a call, and reads what else the session tells meanwhile.
func (h *handset) take(ctx context.Context, call *client.Call) outcome {
	call.Ringing()
	var reading sync.WaitGroup
	over := make(chan struct{})
	reading.Go(func() {
		for {
			select {
			case _, ok := <-h.client.Events():
				if !ok {
					return
				}
			case <-over:
				return
			}
		}
	})
	s, err := phone.Answer(ctx, call, h.options())
	close(over)
	reading.Wait()
	return outcome{s, err}
}

package load

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"switchboard/cmd/internal/ledger"
	"switchboard/signaling/client"
	"switchboard/signaling/protocol"
)

// device is one of an account's.
type device struct {
	// Static after connect.
	account int // which, from 0
	number  string
	ledger  ledger.Device
	token   string
	server  string
	codes   string   // the file that the server writes codes into
	others  []string // servers, in the order in which it goes on to them
	away    bool     // at first
	stalled bool
	client  *client.Client // nil until it connects
	drained chan struct{}  // closed when its first backlog has come

	// Guarded by mu.
	mu   sync.Mutex
	conn net.Conn // the latest
}

// dialer remembers the connection, so that it can be cut.
func (d *device) dialer() *websocket.Dialer {
	return &websocket.Dialer{
		HandshakeTimeout: 10 * time.Second,
		NetDialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			var nd net.Dialer
			c, err := nd.DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			d.mu.Lock()
			d.conn = c
			d.mu.Unlock()
			return c, nil
		},
	}
}

// cut breaks the connection, and reports whether there was one.
func (d *device) cut() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conn == nil {
		return false
	}
	d.conn.Close()
	d.conn = nil
	return true
}

// connectWithin is how long a device may take to connect at first.
const connectWithin = time.Minute

// dial connects the device and begins to read.
func (l *load) dial(ctx context.Context, d *device) error {
	ctx, cancel := context.WithTimeout(ctx, connectWithin)
	defer cancel()
	c, err := client.Dial(ctx, client.Options{URL: d.server, Others: d.others, Token: d.token, Name: "softphone load", Stay: true, Dialer: d.dialer(), MaxBackoff: 5 * time.Second})
	if err != nil {
		return err
	}
	d.client = c
	l.readers.Go(func() { l.read(d) })
	return nil
}

// connect dials all devices that are not to be away, some at a time.
func (l *load) connect(ctx context.Context) error {
	for i, d := range l.devices {
		last := i%l.Devices == l.Devices-1
		d.away = l.Backlog > 0 && last && d.account%2 == 1
	}
	for i, n := len(l.devices)-1, l.Stalled; i >= 0 && n > 0; i-- {
		// The last devices, but not those that the backlog is for, and not an
		// account's first.
		if d := l.devices[i]; !d.away {
			d.stalled = true
			n--
		}
	}
	return inParallel(l.devices, func(d *device) error {
		if d.away {
			return nil
		}
		if err := l.dial(ctx, d); err != nil {
			return fmt.Errorf("connect: %w", err)
		}
		return nil
	})
}

// inParallel does something for all devices, a few at a time, and returns the
// first error.
func inParallel(all []*device, do func(*device) error) error {
	const workers = 16
	var wg sync.WaitGroup
	errs := make([]error, workers)
	for w := range workers {
		wg.Go(func() {
			for i := w; i < len(all) && errs[w] == nil; i += workers {
				errs[w] = do(all[i])
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (l *load) there() (n int) {
	for _, d := range l.devices {
		if d.client != nil {
			n++
		}
	}
	return n
}

// read takes what comes until the client is closed.
func (l *load) read(d *device) {
	if d.stalled {
		<-l.resume
	}
	drained := false
	for e := range d.client.Events() {
		switch e := e.(type) {
		case client.Item:
			l.take(d, e)
			e.Ack()
		case client.Drained:
			if !drained {
				drained = true
				close(d.drained)
			}
		case client.Disconnected:
			l.counts.disconnects.Add(1)
		}
	}
	if err := d.client.Err(); !errors.Is(err, client.ErrClosed) {
		l.counts.fail(nameOf(err))
	}
}

// take shows a text. Those of another run are none of this one's business.
func (l *load) take(d *device, it client.Item) {
	if it.Kind != protocol.KindMessage {
		return
	}
	if !strings.HasPrefix(it.ID, l.run) {
		l.counts.others.Add(1)
		return
	}
	l.ledger.Shown(d.ledger, ledger.Item{
		Seq: it.Seq, ID: it.ID, From: it.From.E164(), To: it.To.E164(), Type: it.ContentType, Body: it.Body,
	})
	l.counts.shown.Add(1)
}

// backlog has texts wait for the devices that are away, and then connects
// them and notes how long each takes to get all.
func (l *load) backlog(ctx context.Context) {
	if l.Backlog == 0 {
		return
	}
	var away []*device
	for _, d := range l.devices {
		if d.away {
			away = append(away, d)
		}
	}
	l.Note(fmt.Sprintf("%d texts each are sent to %d devices that are away", l.Backlog, len(away)))
	var texts sync.WaitGroup
	pace(ctx, l.Rate, l.Backlog*len(away), func(i int) {
		d := away[i%len(away)]
		from := l.devices[(d.account-1)*l.Devices]
		texts.Go(func() { l.text(context.WithoutCancel(ctx), from, d.number) })
	})
	texts.Wait()
	l.Note("they connect")
	var wg sync.WaitGroup
	for _, d := range away {
		wg.Go(func() {
			start := time.Now()
			if err := l.dial(ctx, d); err != nil {
				l.counts.fail(nameOf(err))
				return
			}
			select {
			case <-d.drained:
				l.counts.drain(time.Since(start))
			case <-time.After(connectWithin):
				l.counts.fail("a backlog took over " + connectWithin.String())
			}
		})
	}
	wg.Wait()
}

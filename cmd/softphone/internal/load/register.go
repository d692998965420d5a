package load

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"switchboard/cmd/internal/ledger"
	"switchboard/directory/e164"
	"switchboard/signaling/client"
	"switchboard/signaling/protocol"
)

// register makes the devices: those of the file of tokens, and others anew.
func (l *load) register(ctx context.Context) error {
	first, err := e164.Parse(l.First, "")
	if err != nil {
		return fmt.Errorf("the first number: %w", err)
	}
	n, err := strconv.ParseInt(first.E164()[1:], 10, 64)
	if err != nil {
		return fmt.Errorf("the first number: %w", err)
	}
	had, err := readTokens(l.Tokens)
	if err != nil {
		return err
	}
	var without []*device
	for i := range l.Accounts * l.Devices {
		at := i % len(l.Servers)
		d := &device{account: i / l.Devices, server: l.Servers[at], others: slices.Concat(l.Servers[at+1:], l.Servers[:at]), drained: make(chan struct{})}
		if len(l.Codes) > 0 {
			d.codes = l.Codes[at%len(l.Codes)]
		}
		d.number = fmt.Sprintf("+%d", n+int64(d.account))
		d.ledger = ledger.Device{Account: d.number, Name: strconv.Itoa(i % l.Devices)}
		d.token = had[d.ledger]
		l.ledger.Add(d.ledger)
		l.devices = append(l.devices, d)
		if d.token == "" {
			without = append(without, d)
		}
	}
	if len(without) == 0 {
		return nil
	}
	if len(l.Codes) == 0 {
		return fmt.Errorf("%d devices have no token, and no file of codes is given to register them", len(without))
	}
	l.Note(fmt.Sprintf("%d devices are registered", len(without)))
	return l.registerAll(ctx, without)
}

func (l *load) registerAll(ctx context.Context, devices []*device) error {
	var mu sync.Mutex // of the file of tokens
	for round := range l.Devices {
		// One device of a number at a time: its codes are told apart by when they
		// come.
		var these []*device
		for _, d := range devices {
			if d.ledger.Name == strconv.Itoa(round) {
				these = append(these, d)
			}
		}
		err := inParallel(these, func(d *device) error {
			token, err := l.newDevice(ctx, d)
			if err != nil {
				return fmt.Errorf("register: %w", err)
			}
			d.token = token
			mu.Lock()
			defer mu.Unlock()
			return keepToken(l.Tokens, d)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// maxWait is how long a server's limit on registrations is waited for.
const maxWait = 90 * time.Second

func (l *load) newDevice(ctx context.Context, d *device) (string, error) {
	size := int64(0)
	if info, err := os.Stat(d.codes); err == nil {
		size = info.Size()
	}
	var asked protocol.RegisterReply
	err := l.patiently(ctx, func() (err error) {
		asked, err = client.RequestCode(ctx, d.server, d.number, "")
		return err
	})
	if err != nil {
		return "", err
	}
	code, err := awaitCode(ctx, d.codes, size, d.number)
	if err != nil {
		return "", err
	}
	var got protocol.TokenReply
	err = l.patiently(ctx, func() (err error) {
		got, err = client.Confirm(ctx, d.server, asked.Verification, code, "softphone load")
		return err
	})
	return got.Token, err
}

// patiently does something again while the server's limits forbid it for a
// while that is not too long.
func (l *load) patiently(ctx context.Context, do func() error) error {
	for deadline := time.Now().Add(maxWait); ; {
		err := do()
		refused, ok := errors.AsType[*protocol.Error](err)
		if !ok || !refused.Retry {
			return err
		}
		wait := max(time.Duration(refused.AfterMS)*time.Millisecond, 100*time.Millisecond)
		if time.Now().Add(wait).After(deadline) {
			return fmt.Errorf("%w; configs/load.yaml has the limits that are for loads", err)
		}
		if wait > 5*time.Second {
			l.Note(fmt.Sprintf("the server's limit on registrations is waited for, %v", wait.Round(time.Second)))
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// awaitCode waits until the file has, after what it had before, a code for the
// number.
func awaitCode(ctx context.Context, file string, after int64, number string) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, 15*time.Second, fmt.Errorf("no code came into %s", file))
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if code, ok := findCode(file, after, number); ok {
			return code, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
}

func findCode(file string, after int64, number string) (string, bool) {
	f, err := os.Open(file)
	if err != nil {
		return "", false // it comes with the first code
	}
	defer f.Close()
	if _, err := f.Seek(after, io.SeekStart); err != nil {
		return "", false
	}
	data, err := io.ReadAll(f)
	if err != nil {
		return "", false
	}
	for line := range strings.Lines(string(data)) {
		if n, code, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " "); ok && n == number && strings.HasSuffix(line, "\n") {
			return code, true
		}
	}
	return "", false
}

// readTokens reads the file of tokens, if there is one.
func readTokens(file string) (map[ledger.Device]string, error) {
	had := map[ledger.Device]string{}
	if file == "" {
		return had, nil
	}
	f, err := os.Open(file)
	if errors.Is(err, os.ErrNotExist) {
		return had, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		switch w := strings.Fields(lines.Text()); len(w) {
		case 0:
		case 3:
			had[ledger.Device{Account: w[0], Name: w[1]}] = w[2]
		default:
			return nil, fmt.Errorf("%s:%d: want number, name from 0 and token of a device", file, n)
		}
	}
	return had, lines.Err()
}

// keepToken adds a device to the file of tokens, which only its owner reads.
func keepToken(file string, d *device) error {
	if file == "" {
		return nil
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "%s %s %s\n", d.ledger.Account, d.ledger.Name, d.token)
	return errors.Join(err, f.Close())
}

package auth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"

	"switchboard/directory/e164"
)

// Sender brings a code to whoever holds a number.
type Sender interface {
	// Send returns when the code is on its way, or why it is not:
	// [ErrUndeliverable] if it never can be. It is called concurrently. The words
	// around the code should say what it is for, so that nobody is talked into
	// telling one with which his account is taken or deleted.
	Send(ctx context.Context, to e164.Number, code string, p Purpose) error
}

// Purpose is what a code is for. A code is good for nothing else.
type Purpose string

const (
	ToRegister Purpose = "register" // a device, by whoever has the number
	ToMove     Purpose = "number"   // an account takes the number as its new one
	ToDelete   Purpose = "delete"   // the number's account is deleted
)

// ErrUndeliverable says that no code can be brought to a number, now or later.
var ErrUndeliverable = errors.New("no code can be brought to this number")

// LogSender shows codes to the developer at the machine. With the code alone,
// nobody learns the number; yet who reads it can register as anyone.
// [Config.ValidateSender] keeps it to development.
type LogSender struct {
	Log *slog.Logger
	// To, if not nil, gets a line "<number> <code>" for each code, for programs
	// that register many.
	To io.Writer

	mu sync.Mutex
}

// Send writes the code down.
func (s *LogSender) Send(ctx context.Context, to e164.Number, code string, p Purpose) error {
	s.Log.InfoContext(ctx, "one-time code (development)", "number", to, "code", code, "purpose", p)
	if s.To == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err := fmt.Fprintln(s.To, to.E164(), code)
	return err
}

package main

import (
	"bytes"
	"context"
	"errors"
	"log"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// httpServer returns a server that no client can hold up: each has seconds to
// say what it wants. WebSockets leave these limits when they are accepted.
func httpServer(h http.Handler, l *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          log.New(errorLog{l}, "", 0),
	}
}

// serveHTTP serves until life ends. When s has been shut down before, it waits
// for that end.
func serveHTTP(life context.Context, s *http.Server, ln net.Listener) error {
	stop := context.AfterFunc(life, func() { s.Close() })
	defer stop()
	err := s.Serve(ln)
	if errors.Is(err, http.ErrServerClosed) {
		<-life.Done()
		return nil
	}
	return err
}

// errorLog sorts what net/http has to say: a panic is a bug of ours; all else
// is a client that did something wrong.
type errorLog struct{ log *slog.Logger }

func (e errorLog) Write(line []byte) (int, error) {
	if bytes.Contains(line, []byte("panic serving")) {
		e.log.Error("handler panicked", "stack", string(line))
	} else {
		e.log.Debug("client's HTTP error", "error", string(bytes.TrimSpace(line)))
	}
	return len(line), nil
}

package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"switchboard/signaling/client"
	"switchboard/signaling/protocol"
)

func registerFlags(fs *flag.FlagSet) func(context.Context, *env, []string) error {
	region := fs.String("region", "", "country to read the number in when it has no +, as US")
	code := fs.String("code", "", "the code, instead of asking for it")
	codeFile := fs.String("code-file", "", "read the code from this file, a line \"<number> <code>\": where a development server writes it")
	name := fs.String("name", "softphone", "what to call this device")
	return func(ctx context.Context, e *env, args []string) error {
		if e.server == "" {
			return &exit{exitUsage, errors.New("register needs the server: softphone -server http://localhost:8080 register NUMBER")}
		}
		path, err := e.profilePath()
		if err != nil {
			return err
		}
		read := sizeOf(*codeFile)
		var r protocol.RegisterReply
		err = anywhere(ctx, e.server, func(server string) (err error) {
			r, err = client.RequestCode(ctx, server, args[0], *region)
			return err
		})
		if err != nil {
			return err
		}
		e.out.say("a code of %d digits was sent to %s", r.Digits, r.Number.E164())
		given := *code
		switch {
		case given != "":
		case *codeFile != "":
			given, err = awaitCode(ctx, *codeFile, read, r.Number.E164())
		default:
			given, err = e.askCode(ctx)
		}
		if err != nil {
			return err
		}
		var t protocol.TokenReply
		err = anywhere(ctx, e.server, func(server string) (err error) {
			t, err = client.Confirm(ctx, server, r.Verification, given, *name)
			return err
		})
		if err != nil {
			return err
		}
		p := &profile{Server: e.server, path: path}
		p.take(t)
		if err := p.save(); err != nil {
			return err
		}
		e.out.event("registered", "number", p.Number, "device", p.Device, "profile", path)
		return nil
	}
}

// askCode reads the code from whoever runs the program.
func (e *env) askCode(ctx context.Context) (string, error) {
	e.out.say("type it here:")
	line := make(chan string, 1)
	go func() { // ends with the program at the latest: a terminal cannot be told to stop waiting
		s := bufio.NewScanner(e.in)
		s.Scan()
		line <- s.Text()
	}()
	select {
	case l := <-line:
		if strings.TrimSpace(l) == "" {
			return "", errors.New("no code was typed; run it again with -code")
		}
		return strings.TrimSpace(l), nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

func sizeOf(file string) int64 {
	if info, err := os.Stat(file); err == nil {
		return info.Size()
	}
	return 0
}

// awaitCode waits until a file has, after what it had before, a code for the
// number.
func awaitCode(ctx context.Context, file string, after int64, number string) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, 15*time.Second, fmt.Errorf("no code for the number came into %s", file))
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if data, err := os.ReadFile(file); err == nil && int64(len(data)) > after {
			for line := range strings.Lines(string(data[after:])) {
				if n, code, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " "); ok && n == number && strings.HasSuffix(line, "\n") {
					return code, nil
				}
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
}

func unregisterFlags(*flag.FlagSet) func(context.Context, *env, []string) error {
	return func(ctx context.Context, e *env, _ []string) error {
		p, err := e.loadProfile()
		if err != nil {
			return err
		}
		err = anywhere(ctx, p.Server, func(server string) error { return client.Revoke(ctx, server, p.Token) })
		if err != nil {
			return err
		}
		e.out.event("unregistered", "number", p.Number, "device", p.Device)
		return os.Remove(p.path)
	}
}

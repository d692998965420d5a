package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"switchboard/signaling/client"
	"switchboard/signaling/protocol"
)

// profile is a registered device, kept in a file that only its owner reads.
type profile struct {
	Server  string    `json:"server"` // as -server has it
	Number  string    `json:"number"`
	Account string    `json:"account"`
	Device  uint32    `json:"device"`
	Token   string    `json:"token"`
	Expires time.Time `json:"expires"`

	path string
}

// profilePath is the file of a profile: a path as it is given, or a name in the
// user's folder of configurations.
func (e *env) profilePath() (string, error) {
	name := e.profile
	if name == "" {
		name = "default"
	}
	if strings.ContainsRune(name, filepath.Separator) || strings.HasSuffix(name, ".json") {
		return name, nil
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("no folder for profiles: %w; give a path with -profile", err)
	}
	return filepath.Join(dir, "switchboard", "softphone-"+name+".json"), nil
}

func (e *env) loadProfile() (*profile, error) {
	path, err := e.profilePath()
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, &exit{exitUsage, fmt.Errorf("no device is registered in %s; begin with: softphone -server URL register NUMBER", path)}
	}
	if err != nil {
		return nil, err
	}
	p := &profile{path: path}
	if err := json.Unmarshal(data, p); err != nil || p.Token == "" {
		return nil, fmt.Errorf("%s is no profile of a softphone; register anew", path)
	}
	if e.server != "" {
		p.Server = e.server
	}
	return p, nil
}

func (p *profile) save() error {
	data, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(p.path), 0o700); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(p.path), ".softphone-*") // 0600
	if err != nil {
		return err
	}
	_, err = tmp.Write(append(data, '\n'))
	if err = errors.Join(err, tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), p.path)
	}
	if err != nil {
		os.Remove(tmp.Name())
	}
	return err
}

func (p *profile) take(r protocol.TokenReply) {
	p.Number, p.Account, p.Device, p.Token = r.Number.E164(), r.Account, r.Device, r.Token
	p.Expires = time.Now().Add(time.Duration(r.ExpiresMS) * time.Millisecond).UTC()
}

// servers are the URLs that a -server has.
func servers(server string) []string { return strings.Split(server, ",") }

// anywhere does something at the first of the URLs of a -server that answers.
func anywhere(ctx context.Context, server string, do func(server string) error) (err error) {
	for _, url := range servers(server) {
		err = do(url)
		var refused *protocol.Error
		if err == nil || errors.As(err, &refused) || ctx.Err() != nil {
			return err
		}
	}
	return err
}

// refreshBefore is how long before its end a token is exchanged.
const refreshBefore = 14 * 24 * time.Hour

// connect opens the profile's session; a token that ends soon is exchanged
// first.
func (e *env) connect(ctx context.Context, away bool) (*client.Client, *profile, error) {
	p, err := e.loadProfile()
	if err != nil {
		return nil, nil, err
	}
	if time.Until(p.Expires) < refreshBefore {
		var r protocol.TokenReply
		err := anywhere(ctx, p.Server, func(server string) (err error) {
			r, err = client.Refresh(ctx, server, p.Token)
			return err
		})
		if err != nil {
			return nil, nil, fmt.Errorf("the token could not be refreshed: %w", err)
		}
		p.take(r)
		if err := p.save(); err != nil {
			return nil, nil, err
		}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, 20*time.Second, errors.New("the server cannot be reached at "+p.Server))
	defer cancel()
	all := servers(p.Server)
	c, err := client.Dial(ctx, client.Options{URL: all[0], Others: all[1:], Token: p.Token, Name: "softphone/" + version(), Away: away, RoundTrips: e.trips})
	return c, p, err
}

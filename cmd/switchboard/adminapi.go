package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	"switchboard/directory"
	"switchboard/signaling"
	"switchboard/signaling/admin"
	"switchboard/signaling/mailbox"
	"switchboard/signaling/push"
	"switchboard/signaling/region"
)

// AdminConfig is the listener of the operators' API.
type AdminConfig struct {
	Listen    string    `yaml:"listen"` // empty: none
	TokenFile string    `yaml:"token_file"`
	TLS       TLSConfig `yaml:"tls"`
}

func (c AdminConfig) validate() error {
	if c.Listen == "" {
		return nil
	}
	err := errors.Join(checkListen("admin.listen", c.Listen), c.TLS.validate("admin.tls"))
	if err == nil && c.TLS.CertFile == "" && !onLoopback(c.Listen) {
		err = fmt.Errorf("admin.listen: %q can be reached from other machines, and tokens would travel in the clear; give admin.tls, or listen on 127.0.0.1", c.Listen)
	}
	return err
}

// onLoopback reports whether only this machine reaches a listener at addr.
func onLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}

// AdminTokenPath is where the tokens of the operators' API are.
func (c Config) AdminTokenPath() string {
	return cmp.Or(c.Admin.TokenFile, filepath.Join(c.DataDir, "admin-token"))
}

// listenAdmin opens the operators' listener, if there is to be one.
func (n *node) listenAdmin() (err error) {
	if n.config.Admin.Listen == "" {
		return nil
	}
	if n.adminLn, err = listenTLS("admin", n.config.Admin.Listen, n.config.Admin.TLS); err != nil {
		return err
	}
	n.closers = append(n.closers, closed(n.adminLn))
	n.addrs.Admin = n.adminLn.Addr().String()
	return nil
}

// openAdmin puts the operators' API behind its listener.
func (n *node) openAdmin(d *stores, server *signaling.Server, guide *region.Guide, queue *push.Queue) error {
	if n.adminLn == nil {
		return nil
	}
	tokens, err := n.adminTokens()
	if err != nil {
		return fmt.Errorf("admin.token_file: %w", err)
	}
	deps := admin.Deps{
		Numbers: d.directory, People: d.directory, Presence: d.directory, Fleet: fleet{d.directory}, Sessions: server,
		Waiting: func(ctx context.Context, a directory.Account, dev directory.Device) (int, error) {
			return d.mailboxes.Count(ctx, mailbox.Box{Account: string(a), Device: uint32(dev)})
		},
		Routing: admin.Routing{Rank: n.relays.Ranked, Absent: guide.Absent, Country: guide.Country, Policies: server.Policies},
		Remove:  d.authenticator.RemoveDevice, Relays: n.adminRelays, Tokens: tokens, Log: n.log, Registerer: n.metrics,
	}
	if queue != nil {
		deps.Pushes = pushes{queue, d.directory}
	}
	if d.cdr != nil {
		deps.Calls = d.cdr
	}
	if n.relay != nil {
		deps.Relay = n.relay
	}
	api, err := admin.New(deps)
	if err != nil {
		return err
	}
	n.admin = api
	s := httpServer(api, n.log)
	n.parts = append(n.parts, part{name: "operators' API", run: func(life context.Context) error {
		return serveHTTP(life, s, n.adminLn)
	}})
	return nil
}

// adminTokens reads the tokens. Where no file is configured, the one beside the
// data is made at the first start.
func (n *node) adminTokens() (*admin.Tokens, error) {
	file := n.config.AdminTokenPath()
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		if n.config.Admin.TokenFile != "" && !n.config.Development {
			return nil, fmt.Errorf("%s: %w; make it with: switchboard gen-secret -admin -out %s", file, errNoSecret, file)
		}
		if err := writeSecret(file, admin.NewToken()); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
		n.log.Info("token for the operators' API made", "file", file)
	}
	return admin.OpenTokens(file)
}

// adminRelays is what operators are told of the relays.
func (n *node) adminRelays() []admin.Relay {
	var all []admin.Relay
	for _, r := range n.relays.Known() {
		state := "serving"
		switch {
		case !r.Gone.IsZero():
			state = "gone"
		case r.Draining:
			state = "draining"
		}
		all = append(all, admin.Relay{
			Name: r.Incarnation(), Region: r.Region, Zone: r.Zone, State: state, Allocations: new(r.Allocations), Max: r.Max, Version: r.Version,
			Here: n.config.Has(RoleRelay) && r.Name == n.config.Node && r.Gone.IsZero(), URLs: slices.Concat(r.STUN, r.TURN),
		})
	}
	if urls := slices.Concat(n.relays.STUN, n.relays.TURN); len(urls) > 0 {
		all = append(all, admin.Relay{State: "configured", URLs: urls})
	}
	return all
}

// fleet is what operators are told of the nodes.
type fleet struct{ *directory.Directory }

// Nodes lists the living ones.
func (f fleet) Nodes() []admin.Node {
	var all []admin.Node
	for _, n := range f.NodeList() {
		all = append(all, admin.Node{
			Incarnation: n.Incarnation, Node: n.Node, Region: n.Region, URL: n.URL, Sessions: n.Sessions, Max: n.Max,
			Draining: n.Draining, Version: n.Version, Started: n.Started, Self: n.Incarnation == f.Incarnation(),
		})
	}
	return all
}

package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"switchboard/signaling/admin"
)

// dataPath tells who relays packets on this machine, or changes it.
func (p program) dataPath(ctx context.Context, args []string) error {
	f := p.relayFlags("data-path")
	to, err := f.dataPath(args)
	if err != nil {
		return err
	}
	c, err := f.clientAt(p, f.relayServer)
	if err != nil {
		return err
	}
	d, err := ask(ctx, f, c, func(ctx context.Context, c *admin.Client) (admin.RelayDataPath, error) {
		if to == "" {
			return c.RelayDataPath(ctx)
		}
		return c.SetRelayDataPath(ctx, to)
	})
	if err != nil || *f.json {
		return p.orJSON(d, err)
	}
	printDataPath(p.stdout, d)
	return nil
}

// dataPath reads args: flags, and at most one of [admin.DataPaths].
func (f *adminFlags) dataPath(args []string) (to string, err error) {
	found, err := f.scan(args)
	switch {
	case err != nil:
		return "", forAll(err)
	case len(found) == 0:
		return "", nil
	case !slices.Contains(admin.DataPaths, found[0]):
		return "", f.usage("%q is none of %s", found[0], strings.Join(admin.DataPaths, ", "))
	}
	return found[0], f.count(found, "PATH")
}

func printDataPath(w io.Writer, d admin.RelayDataPath) {
	who := "its process relays, a packet at a time"
	switch d.Path {
	case "ebpf":
		who = "the kernel relays"
	case "user":
		who = "its process relays"
	}
	fmt.Fprintf(w, "relay %s: %s (%s): %s\n", d.Name, who, d.Path, plain(d.Reason))
	if len(d.Interfaces) > 0 {
		fmt.Fprintf(w, "interfaces: %s\n", plain(strings.Join(d.Interfaces, ", ")))
	}
	fmt.Fprintf(w, "channels over UDP: %d, of which the kernel relays %d\n", d.Channels, d.InKernel)
	fmt.Fprintf(w, "packets relayed by the kernel: %d up, %d down; by the process: %d up, %d down\n",
		d.KernelPackets.Up, d.KernelPackets.Down, d.ProcessPackets.Up, d.ProcessPackets.Down)
}

package relay

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// DataPath is who relays the packets of clients' channels over UDP.
type DataPath struct {
	// Path is [DataPathEBPF], [DataPathUser] or [DataPathPlain].
	Path string
	// Reason is why it is that one.
	Reason string
	// Interfaces are those at which the kernel looks for such packets.
	Interfaces []string
	// Channels is how many there are, and InKernel how many of them the kernel relays.
	Channels, InKernel int
	// Kernel and Process are what each has relayed since the relay was made. What goes
	// over TCP and TLS, and in indications, is the process's.
	Kernel, Process Packets
}

// Packets are numbers of packets: up to peers, down to clients.
type Packets struct{ Up, Down uint64 }

// ErrDataPathFixed says that the data path is not one that can be changed.
var ErrDataPathFixed = errors.New("relay: the data path is plain for as long as the relay runs: data_path in the settings is, or the network is not this machine's")

// errDataPath says that there is no such data path to choose.
var errDataPath = fmt.Errorf("relay: a data path is %s, %s or %s", DataPathAuto, DataPathEBPF, DataPathUser)

// DataPath returns who relays the packets of channels over UDP. What the kernel has
// relayed is up to a second old.
func (s *Server) DataPath() DataPath {
	d, m := *s.offloader.status.Load(), s.metrics
	d.Channels = int(m.flows.Load())
	for i, t := range []*traffic{&m.up, &m.down} {
		// In this order, as packets of the kernel are added to all of them first.
		kernel := m.byKernel[i].Load()
		process := t.packets.Load() - kernel
		*[]*uint64{&d.Kernel.Up, &d.Kernel.Down}[i] = kernel
		*[]*uint64{&d.Process.Up, &d.Process.Down}[i] = process
	}
	return d
}

// SetDataPath has the kernel relay ([DataPathEBPF]), this process ([DataPathUser]), or the
// kernel where it can ([DataPathAuto]), until the relay ends, and returns who does then.
// Nothing is lost of what is relayed. It fails where the kernel cannot and must, with
// [ErrDataPathFixed] where there is no choice, and with [ErrNotServing] before
// [Server.Serve] and after it.
func (s *Server) SetDataPath(ctx context.Context, to string) (DataPath, error) {
	if !slices.Contains(dataPaths, to) || to == DataPathPlain {
		return s.DataPath(), errDataPath
	}
	if s.addrs.Load() == nil {
		return s.DataPath(), ErrNotServing
	}
	answer := make(chan error, 1)
	select {
	case s.offloader.do <- func() { answer <- s.offloader.set(to) }:
		err := <-answer
		return s.DataPath(), err
	case <-s.offloader.over:
		return s.DataPath(), ErrNotServing
	case <-ctx.Done():
		return s.DataPath(), context.Cause(ctx)
	}
}

// set is SetDataPath in the goroutine of run.
func (o *offloader) set(to string) (err error) {
	status := DataPath{Path: DataPathUser, Reason: "an operator has chosen it"}
	switch {
	case !o.able:
		return ErrDataPathFixed
	case to == DataPathUser:
		err = o.stop()
	case o.on:
		return nil
	default:
		if status, err = o.start(); to == DataPathAuto {
			err = nil
		} else if err != nil {
			err = fmt.Errorf("relay: the kernel does not relay: %s", status.Reason)
		}
	}
	o.say(status)
	o.tell()
	o.announce()
	return err
}

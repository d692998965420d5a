package virtual

import (
	"bufio"
	"errors"
	"log/slog"
	"os"
	"path/filepath"

	"switchboard/cmd/natlab/internal/engine"
	"switchboard/relay/natlab"
	"switchboard/relay/natlab/pcap"
)

// keeper keeps a call's log and packets in files, or nothing. It is used by one goroutine
// at a time.
type keeper struct {
	dir   string // "" keeps nothing
	log   *slog.Logger
	files []string
	ends  []func() error // in the order in which they are called
}

// newKeeper begins with the log.
func newKeeper(o engine.Options) (*keeper, error) {
	k := &keeper{dir: o.Keep, log: o.Log}
	if k.dir == "" {
		return k, nil
	}
	f, err := k.create("log.txt")
	if err != nil {
		return nil, err
	}
	k.log = slog.New(slog.NewTextHandler(f, &slog.HandlerOptions{Level: slog.LevelDebug}))
	k.ends = append(k.ends, f.Close)
	return k, nil
}

func (k *keeper) create(name string) (*os.File, error) {
	f, err := os.Create(filepath.Join(k.dir, name))
	if err == nil {
		k.files = append(k.files, f.Name())
	}
	return f, err
}

// capture writes what hosts send and receive, each to a file of its own that tcpdump and
// Wireshark read, until close.
func (k *keeper) capture(w *natlab.World, hosts ...string) error {
	if k.dir == "" {
		return nil
	}
	for _, host := range hosts {
		f, err := k.create(host + ".pcap")
		if err != nil {
			return err
		}
		out := bufio.NewWriter(f)
		c, err := pcap.Start(w, host, out)
		if err != nil {
			return errors.Join(err, f.Close())
		}
		k.ends = append(k.ends, c.Close, out.Flush, f.Close)
	}
	return nil
}

// close ends all files, and returns their names.
func (k *keeper) close() ([]string, error) {
	var err error
	for _, end := range k.ends {
		err = errors.Join(err, end())
	}
	k.ends = nil
	return k.files, err
}

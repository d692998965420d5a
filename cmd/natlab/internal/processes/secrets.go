package processes

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

// keyring has the secrets of the lab's installations, each made once by the program whose
// they are and used for all calls: they protect nothing.
type keyring struct {
	program string // switchboard
	dir     string
	master  string // the file of secret_file
	relays  string // the file of relay_secret_file

	mu    sync.Mutex
	nkeys map[string]nkey // guarded by mu: by the relay's name
}

// nkey is what a relay shows to NATS.
type nkey struct{ file, public string }

func newKeyring(ctx context.Context, program, dir string) (*keyring, error) {
	k := &keyring{program: program, dir: dir, master: filepath.Join(dir, "secret"), relays: filepath.Join(dir, "relay-secret"), nkeys: map[string]nkey{}}
	if _, err := k.make(ctx, "-out", k.master); err != nil {
		return nil, err
	}
	_, err := k.make(ctx, "-relay", "-out", k.relays)
	return k, err
}

func (k *keyring) make(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, k.program, append([]string{"gen-secret"}, args...)...)
	cmd.Env = append(os.Environ(), "SWITCHBOARD_SECRET_FILE="+k.master)
	var errors bytes.Buffer
	cmd.Stderr = &errors
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("gen-secret: %w: %s", err, clean(errors.String()))
	}
	return strings.TrimSpace(string(out)), nil
}

// nkey returns the key of a relay.
func (k *keyring) nkey(ctx context.Context, relay string) (nkey, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if n, ok := k.nkeys[relay]; ok {
		return n, nil
	}
	n := nkey{file: filepath.Join(k.dir, relay+".nk")}
	var err error
	if n.public, err = k.make(ctx, "-nkey", "-out", n.file); err != nil {
		return nkey{}, err
	}
	k.nkeys[relay] = n
	return n, nil
}

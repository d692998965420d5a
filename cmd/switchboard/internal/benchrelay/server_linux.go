package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"syscall"
	"time"

	"go.yaml.in/yaml/v3"

	"switchboard/relay"
)

const realm = "bench"

// server is what is measured: a TURN server as a process, or the kernel in its place.
type server struct {
	name    string
	args    []string // the command line
	address netip.AddrPort
	ops     string   // of the address of its profiles and metrics, empty where it has none
	path    string   // its data path, where it is known
	forward *forward // in place of a process
	// mint returns credentials that nobody else is given.
	mint func(i int) (username, password string)

	// Of the process that runs.
	cmd   *exec.Cmd
	log   *bytes.Buffer
	clock clock
}

// switchboard is this project's relay with one of its data paths: a program, and a folder
// to put its settings in.
func switchboard(f *family, name, path, program, dir string) (*server, error) {
	s := &server{name: name, path: path, address: netip.AddrPortFrom(f.relay, 3478), ops: "127.0.0.1:8081"}
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		return nil, err
	}
	secrets := []relay.Secret{{ID: "a1", Key: key}}
	minter, err := relay.NewMinter(secrets, time.Hour)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	s.mint = func(i int) (string, string) {
		username, password, _ := minter.Mint(strconv.Itoa(i), strconv.Itoa(i), now, now)
		return username, password
	}
	dir = filepath.Join(dir, name+f.suffix)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "switchboard.yaml")
	text, err := settings(dir, s.address, s.ops, path, key)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return nil, err
	}
	s.args = []string{program, "serve", "-config", file}
	return s, nil
}

// settings are those of a relay whose limits are as high as they may be, and which bounds
// no bandwidth.
func settings(dir string, listen netip.AddrPort, ops, path string, key []byte) ([]byte, error) {
	c := relay.Default()
	c.Realm, c.Listen = realm, listen.String()
	c.Development, c.DataPath = true, path
	c.Bandwidth = relay.Bandwidth{}
	c.Ports = relay.PortRange{Min: 10000, Max: 34999}
	raise(&c, reflect.ValueOf(&c.Quotas).Elem())
	raise(&c, reflect.ValueOf(&c.Limits).Elem())
	text, err := yaml.Marshal(c)
	if err != nil {
		return nil, err
	}
	var all map[string]any
	if err := yaml.Unmarshal(text, &all); err != nil {
		return nil, err
	}
	all["secrets"] = []map[string]string{{"id": "a1", "key": hex.EncodeToString(key)}} // c would not print it
	return yaml.Marshal(map[string]any{
		"roles": []string{"relay"}, "development": true, "node": "bench", "data_dir": filepath.Join(dir, "data"),
		"log": map[string]any{"level": "warn"}, "ops": map[string]any{"listen": ops}, "relay": all,
	})
}

// raise doubles every number of a part of the settings for as long as they are valid, or
// until nothing could reach it.
func raise(c *relay.Config, part reflect.Value) {
	for i := range part.NumField() {
		f := part.Field(i)
		if f.Kind() == reflect.Struct {
			raise(c, f)
		}
		if !f.CanInt() || f.Type() == reflect.TypeFor[time.Duration]() {
			continue
		}
		for v := f.Int(); v > 0 && v < 1<<40; v *= 2 {
			f.SetInt(v)
			if c.Validate() != nil {
				f.SetInt(v / 2)
				break
			}
		}
	}
}

// turnserver is coturn.
func turnserver(f *family, program, dir string) (*server, error) {
	secret := make([]byte, 16)
	if _, err := rand.Read(secret); err != nil {
		return nil, err
	}
	text := hex.EncodeToString(secret)
	s := &server{name: "turnserver", address: netip.AddrPortFrom(f.relay, 3479)}
	expires := time.Now().Add(24 * time.Hour).Unix()
	s.mint = func(i int) (string, string) {
		username := fmt.Sprintf("%d:%d", expires, i)
		h := hmac.New(sha1.New, []byte(text))
		h.Write([]byte(username))
		return username, base64.StdEncoding.EncodeToString(h.Sum(nil))
	}
	s.args = []string{program, "-n", "--relay-threads=1",
		"--listening-ip=" + f.relay.String(), "--relay-ip=" + f.relay.String(), "--listening-port=3479", "--min-port=35000", "--max-port=60000",
		"--realm=" + realm, "--use-auth-secret", "--static-auth-secret=" + text, "--allowed-peer-ip=" + f.generator.String(),
		"--no-tls", "--no-dtls", "--no-tcp", "--no-tcp-relay", "--no-cli", "--no-software-attribute", "--no-stdout-log", "--log-file=/dev/null", "--simple-log",
		"--userdb=" + filepath.Join(dir, "turndb"+f.suffix), "--pidfile=" + filepath.Join(dir, "turnserver"+f.suffix+".pid")}
	return s, nil
}

// command is the command line, without what is secret.
func (s *server) command() string {
	switch {
	case s.forward != nil && s.forward.nat != "":
		return "the kernel forwards, with NAT by nftables"
	case s.forward != nil:
		return "the kernel forwards"
	}
	args := append([]string(nil), s.args...)
	for i, a := range args {
		if name, _, ok := strings.Cut(a, "="); ok && strings.Contains(name, "secret") && name != "--use-auth-secret" {
			args[i] = name + "=…"
		}
	}
	return strings.Join(args, " ")
}

// start starts the process on the relay's side of the cable, and waits until it answers.
func (s *server) start(ctx context.Context, c *cable) error {
	if s.forward != nil {
		return s.forward.start(c)
	}
	s.log = new(bytes.Buffer)
	s.cmd = exec.Command(s.args[0], s.args[1:]...)
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setsid: true}
	if err := c.relay.space.do(func() (err error) {
		if s.clock, err = newClock(0); err != nil { // of what this thread starts: it does nothing itself while there is something to measure
			return err
		}
		return s.cmd.Start()
	}); err != nil {
		s.clock.close()
		s.cmd = nil
		return fmt.Errorf("%s: %w", s.name, err)
	}
	if err := first(s.cmd.Process.Pid, c.nice); err != nil {
		s.stop()
		return err
	}
	client, err := c.dial(s, 0)
	if err != nil {
		s.stop()
		return err
	}
	defer client.close()
	for deadline := time.Now().Add(15 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		err = client.binding()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil || time.Now().After(deadline) {
			break
		}
	}
	s.stop()
	return fmt.Errorf("%s does not answer: %w\n%s", s.name, err, s.log)
}

// stop ends the process.
func (s *server) stop() {
	if s.cmd == nil {
		return
	}
	s.cmd.Process.Kill()
	s.cmd.Wait()
	s.clock.close()
	s.cmd = nil
}

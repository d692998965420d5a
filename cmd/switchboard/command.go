package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/nats-io/nkeys"

	"switchboard/signaling/admin"
)

// The exit codes.
const (
	exitOK     = 0
	exitFailed = 1 // it ran, and failed
	exitUsage  = 2 // it did not start: wrong arguments or settings
	exitLeft   = 3 // the relay drains, and still had allocations at the deadline
)

// envConfig names the settings file where no flag does.
const envConfig = envPrefix + "CONFIG"

const usage = `Switchboard connects people by phone number.

Usage:
  switchboard [serve] [-config FILE] [-addr-file FILE]
      Run. SIGTERM drains and ends; a second one ends at once.
  switchboard check-config [-config FILE]
      Say what is wrong with the settings, all of it, without running.
  switchboard gen-secret [-out FILE]
      Make the master secret of an installation and print it, or write it to a
      new file that only its owner can read.
  switchboard gen-secret -relay [-config FILE] [-out FILE]
      The same with the key that relays on machines of their own need, which is
      derived from the master secret.
  switchboard gen-secret -admin [-out FILE]
      The same with a token for the operators' API.
  switchboard gen-secret -nkey -out FILE
      Make an NKey with which a relay or a node shows NATS who it is: the seed
      goes to a new file, for nats.nkey_file, and the public key is printed.
  switchboard drain [-config FILE] [-wait] [-deadline DURATION]
      Take the relay of the process on this machine out of service, without
      ending the process: no call is given it any more, and those on it are asked
      to leave. -wait tells how many allocations are left until there is none, for
      drain_deadline or as long as -deadline says. A signaling node in the same
      process stays in service; "switchboard admin drain" is for that.
  switchboard undrain [-config FILE]
      Put it back into service.
  switchboard data-path [-config FILE] [-json] [auto|ebpf|user]
      Tell who relays the packets of calls: the kernel (ebpf) or the relay's process
      (user), why, at which interfaces, and how many each has relayed. With one of
      auto (the kernel where it can), ebpf and user, change it without losing a
      packet, until the process ends; relay.data_path is for good.
      These three ask at ops.listen with the token of admin.token_file, as the
      settings have them; -addr and -token-file name others, as for "switchboard
      admin".
  switchboard turn-credential [-config FILE] [-user NAME] [-call ID] [-ttl DURATION] [-urls URL,URL] [-json]
      Make credentials for the relays, under the secret that the settings name, for
      tests and for other clients: for one user in one call, for relay.credential_ttl
      or as long as -ttl says, at most 48h. With -json, an entry of iceServers of an
      RTCPeerConnection. The URLs are those of ice.turn_urls and of the relay that
      the settings have, unless -urls says otherwise.
  switchboard doctor -relay HOST[:PORT] [-tls-port PORT] [-ca FILE]
                     [-secret-file FILE | -username NAME -password PASSWORD]
      Look at a relay the way its clients do, and print what to change. In place
      of the host, turn: and turns: URLs will do; -password - reads it from
      standard input. With -config, and without -relay, it looks at the relay of
      this machine, and at the machine. -json prints all as JSON, -development
      expects a relay for trying out, -timeout 2m bounds it.
  switchboard health [-alive] [-config FILE]
      Ask the process on this machine whether it is ready, or alive at all.
  switchboard admin COMMAND
      Ask a running server, or change what it does: look up a number, list
      nodes, sessions and relays, explain which relays a call gets, end a session,
      drain a node. "switchboard admin help" lists the commands.
  switchboard version
  switchboard help

Settings: the defaults, changed by the file, changed by the environment, where
http.listen is SWITCHBOARD_HTTP_LISTEN. SWITCHBOARD_CONFIG names the file where
-config does not. configs/switchboard.yaml explains every one.

Exit codes: 0 all is well; 1 it ran and failed; 2 wrong arguments or settings;
3 drain -wait: allocations are left at the deadline, and the relay goes on draining.
`

// program is what a command may use of the process it runs in.
type program struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	environ        []string
}

// run runs the command that args name and returns the exit code.
func (p program) run(ctx context.Context, args []string) int {
	name, args := command(args)
	var err error
	switch name {
	case "serve":
		err = p.serve(ctx, args)
	case "check-config":
		err = p.checkConfig(args)
	case "gen-secret":
		err = p.genSecret(args)
	case "drain":
		err = p.drainRelay(ctx, args)
	case "undrain":
		err = p.resumeRelay(ctx, args)
	case "data-path":
		err = p.dataPath(ctx, args)
	case "turn-credential":
		err = p.turnCredential(args)
	case "doctor":
		err = p.doctor(ctx, args)
	case "health":
		err = p.askHealth(ctx, args)
	case "admin":
		err = p.admin(ctx, args)
	case "version":
		err = p.version(args)
	case "help":
		fmt.Fprint(p.stdout, usage)
	default:
		err = usageError{fmt.Errorf("no command %q; there are serve, check-config, gen-secret, drain, undrain, data-path, turn-credential, doctor, health, admin, version, help", name)}
	}
	return p.exitCode(err)
}

// command splits off the name of the command. Without one, it is serve.
func command(args []string) (string, []string) {
	switch {
	case len(args) == 0:
		return "serve", nil
	case args[0] == "-h", args[0] == "-help", args[0] == "--help":
		return "help", nil
	case args[0] == "-version", args[0] == "--version":
		return "version", nil
	case strings.HasPrefix(args[0], "-"):
		return "serve", args
	}
	return args[0], args[1:]
}

// usageError is an error in how the program was called or set up.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func (p program) exitCode(err error) int {
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(p.stdout, usage)
		return exitOK
	}
	fmt.Fprintf(p.stderr, "switchboard: %s\n", strings.ReplaceAll(err.Error(), "\n", "\nswitchboard: "))
	if _, ok := errors.AsType[usageError](err); ok {
		return exitUsage
	}
	if errors.Is(err, errAllocationsLeft) {
		return exitLeft
	}
	return exitFailed
}

// flags returns an empty set of flags that reports through errors alone.
func flags(name string) *flag.FlagSet {
	f := flag.NewFlagSet(name, flag.ContinueOnError)
	f.SetOutput(io.Discard)
	return f
}

// parse reads args, none of which may be left over.
func parse(f *flag.FlagSet, args []string) error {
	err := f.Parse(args)
	if err == nil && f.NArg() > 0 {
		err = fmt.Errorf("%q is one argument too many", f.Arg(0))
	}
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		err = usageError{fmt.Errorf("%s: %w; see: switchboard help", f.Name(), err)}
	}
	return err
}

// load reads the settings and prints the warnings.
func (p program) load(file string) (Config, error) {
	c, warnings, err := Load(file, p.environ)
	for _, w := range warnings {
		fmt.Fprintf(p.stderr, "switchboard: warning: %s\n", w)
	}
	c = c.implied()
	if err = errors.Join(err, c.Complete()); err != nil {
		err = usageError{err}
	}
	return c, err
}

// configFlag adds -config, which SWITCHBOARD_CONFIG stands in for.
func (p program) configFlag(f *flag.FlagSet) *string {
	fromEnv := ""
	for _, kv := range p.environ {
		if v, ok := strings.CutPrefix(kv, envConfig+"="); ok {
			fromEnv = v
		}
	}
	return f.String("config", fromEnv, "settings `file`")
}

func (p program) serve(ctx context.Context, args []string) error {
	f := flags("serve")
	file := p.configFlag(f)
	addrFile := f.String("addr-file", "", "`file` to write the addresses to, once ready")
	if err := parse(f, args); err != nil {
		return err
	}
	c, err := p.load(*file)
	if err != nil {
		return err
	}
	return Serve(ctx, c, Options{Stdout: p.stdout, LogTo: p.stderr, AddrFile: *addrFile})
}

func (p program) checkConfig(args []string) error {
	f := flags("check-config")
	file := p.configFlag(f)
	if err := parse(f, args); err != nil {
		return err
	}
	if _, err := p.load(*file); err != nil {
		return err
	}
	fmt.Fprintln(p.stdout, "the settings are fine")
	return nil
}

func (p program) genSecret(args []string) error {
	f := flags("gen-secret")
	file := p.configFlag(f)
	forRelay := f.Bool("relay", false, "the key for relays")
	forAdmin := f.Bool("admin", false, "a token for the operators' API")
	forNATS := f.Bool("nkey", false, "an NKey for NATS")
	out := f.String("out", "", "new `file` to write to")
	if err := parse(f, args); err != nil {
		return err
	}
	if *forNATS {
		return p.genNKey(*out)
	}
	text := newSecret()
	if *forAdmin {
		text = admin.NewToken()
	}
	if *forRelay {
		c, _, err := Load(*file, p.environ)
		if err != nil {
			return usageError{err}
		}
		if text, err = relayKeyText(c.SecretPath()); err != nil {
			return err
		}
	}
	if *out == "" {
		fmt.Fprint(p.stdout, text)
		return nil
	}
	return writeSecret(*out, text)
}

// genNKey makes a key for NATS. The seed is for a file alone.
func (p program) genNKey(out string) error {
	if out == "" {
		return usageError{errors.New("gen-secret -nkey: needs -out, a new file for the seed; the public key is printed")}
	}
	key, err := nkeys.CreateUser()
	if err != nil {
		return err
	}
	seed, err := key.Seed()
	if err != nil {
		return err
	}
	public, err := key.PublicKey()
	if err != nil {
		return err
	}
	if err := writeSecret(out, string(seed)+"\n"); err != nil {
		return err
	}
	fmt.Fprintln(p.stdout, public)
	return nil
}

func (p program) version(args []string) error {
	if err := parse(flags("version"), args); err != nil {
		return err
	}
	fmt.Fprintln(p.stdout, "switchboard", buildVersion())
	return nil
}

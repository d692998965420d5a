package main

import (
	"errors"
	"flag"
	"fmt"
	"time"
)

// adminFlags are those of every command that asks a server.
type adminFlags struct {
	*flag.FlagSet
	help   string // the command that explains them
	listen string // the key of the listener that is asked; empty: admin.listen

	config, addr, tokenFile, ca *string
	json                        *bool
	timeout                     *time.Duration

	insteadOfNumber *string // nil, or a flag that stands for argNumber
}

// argNumber is the argument that is a phone number.
const argNumber = "NUMBER"

func (p program) adminFlags(name string) *adminFlags {
	return p.askFlags("admin "+name, "switchboard admin help")
}

func (p program) askFlags(name, help string) *adminFlags {
	f := flags(name)
	return &adminFlags{
		FlagSet: f, help: help, config: p.configFlag(f),
		addr:      f.String("addr", "", "`address` of the operators' API"),
		tokenFile: f.String("token-file", "", "`file` with the token"),
		ca:        f.String("ca", "", "`file` of certificates to trust"),
		json:      f.Bool("json", false, "answers as the API gives them"),
		timeout:   f.Duration("timeout", 15*time.Second, "how long to wait"),
	}
}

// parse reads args, where flags and arguments may stand in any order, and
// returns the arguments, of which there must be as many as are named. The
// number is empty where an account is given in its place.
func (f *adminFlags) parse(args []string, names ...string) ([]string, error) {
	found, err := f.scan(args)
	if err != nil {
		return nil, err
	}
	if f.insteadOfNumber != nil && *f.insteadOfNumber != "" && len(names) > 0 && names[0] == argNumber {
		found = append([]string{""}, found...)
	}
	return found, f.count(found, names...)
}

// scan reads args and returns those that are no flags.
func (f *adminFlags) scan(args []string) (found []string, err error) {
	for {
		if err := f.Parse(args); errors.Is(err, flag.ErrHelp) {
			return nil, errAdminHelp
		} else if err != nil {
			return nil, f.usage("%w", err)
		}
		if f.NArg() == 0 {
			break
		}
		found, args = append(found, f.Arg(0)), f.Args()[1:]
	}
	if *f.timeout <= 0 {
		return nil, f.usage("-timeout: %v is no time to wait", *f.timeout)
	}
	return found, nil
}

// count holds arguments against the names of those that there must be.
func (f *adminFlags) count(found []string, names ...string) error {
	switch {
	case len(found) > len(names):
		return f.usage("%q is one argument too many", found[len(names)])
	case len(found) < len(names):
		return f.usage("%s is missing", names[len(found)])
	}
	return nil
}

func (f *adminFlags) usage(format string, args ...any) error {
	return usageError{fmt.Errorf("%s: %w; see: %s", f.Name(), fmt.Errorf(format, args...), f.help)}
}

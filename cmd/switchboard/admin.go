package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// adminCommand is a command of switchboard admin.
type adminCommand struct {
	name, args string
	summary    string
	run        func(p program, ctx context.Context, args []string) error
}

// adminCommands lists them.
func adminCommands() []adminCommand {
	return []adminCommand{
		{"lookup", "NUMBER", "the account of a number, its devices, where they are, what waits for them", program.adminLookup},
		{"nodes", "", "the living nodes", program.adminNodes},
		{"sessions", "[-node NODE | -number NUMBER]", "the sessions of a node, or of whoever has a number", program.adminSessions},
		{"relays", "", "the STUN and TURN servers that devices are told of", program.adminRelays},
		{"route", "[-device DEVICE] [-call CALL] NUMBER NUMBER", "which relays a call of the first number to the second would get now, and why", program.adminRoute},
		{"end-session", "NUMBER DEVICE | -node NODE SESSION", "end a session, a device's or by its name; the device may connect again", program.adminEndSession},
		{"remove-device", "-yes NUMBER DEVICE", "remove a device for good: tokens, session, mailbox", program.adminRemoveDevice},
		{"drain", "[-wait DURATION] NODE", "take a signaling node out of service: its sessions go elsewhere, it idles; -wait until they have gone. It drains no relay: that is \"switchboard drain\", without admin", program.adminDrain},
		{"undrain", "NODE", "put a drained node back into service", program.adminUndrain},
		{"calls", "[NUMBER | ACCOUNT | CALL] [-since TIME] [-until TIME] [-in REGION] [-reason REASON] [-path PATH] [-limit N]", "the calls that are over, newest first, of all or of one account; or all that is known of one call", program.adminCalls},
		{"pushes", "[-number NUMBER] [-limit N]", "the pushes that could not be brought to sleeping devices, oldest first", program.adminPushes},
		{"retry-push", "PLACE", "wake the device once more that a push of that list did not reach", program.adminRetryPush},
		{"drop-push", "PLACE", "take a push off that list", program.adminDropPush},
		{"migrate", "-config OLD -to NEW -leaf URL [-dry-run]", "move the data of an embedded NATS to a cluster; no node may run", program.adminMigrate},
	}
}

const adminUsage = `Commands for operators of a running server.

Usage:
  switchboard admin COMMAND [FLAGS] [ARGUMENTS]

Commands:
%s
NUMBER is in any form that people write, with + in front or with -region; - reads
it from standard input, so that it does not stand in the list of processes. In
its place, -account ACCOUNT names an account. NODE is an incarnation or a name,
as "nodes" shows them, or self. DEVICE is a number, as "lookup" shows them, and
SESSION a name, as "sessions" does; PLACE a number, as "pushes" shows them. CALL is
the id of a call, as "calls" shows them; -call CALL says so where it has no letter.
TIME is one such as 2026-11-26T12:00:00Z, or how long ago: 90m, 24h, 7d. REASON is
hangup, canceled, declined, busy, no_answer, unreachable, ice_failed,
connection_lost, media_failed or replaced, PATH direct, relay or none. With -json,
"calls" prints one record a line.

Flags of those that ask a server:
  -config FILE      where the server's settings are, for its address and token
  -addr ADDRESS     another server: host:port, or https://host:port
  -token-file FILE  the token to use is the first in it
  -ca FILE          PEM certificates to trust the server's by
  -json             answers as the API gives them
  -timeout DURATION how long to wait for an answer

Without -addr and -token-file, they are those of the settings: admin.listen and
admin.token_file.
`

// admin runs a command of switchboard admin.
func (p program) admin(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return usageError{fmt.Errorf("admin: no command; there are %s; see: switchboard admin help", adminNames())}
	}
	switch args[0] {
	case "help", "-h", "-help", "--help":
		p.printAdminUsage()
		return nil
	}
	if strings.HasPrefix(args[0], "-") {
		return usageError{fmt.Errorf("admin: %s stands before the command; flags follow it; see: switchboard admin help", args[0])}
	}
	for _, c := range adminCommands() {
		if c.name != args[0] {
			continue
		}
		err := c.run(p, ctx, args[1:])
		if errors.Is(err, errAdminHelp) {
			p.printAdminUsage()
			return nil
		}
		return err
	}
	return usageError{fmt.Errorf("admin: no command %q; there are %s; see: switchboard admin help", args[0], adminNames())}
}

// errAdminHelp says that a command was asked how it is used.
var errAdminHelp = errors.New("help is wanted")

func (p program) printAdminUsage() {
	var list strings.Builder
	for _, c := range adminCommands() {
		fmt.Fprintf(&list, "  %s\n      %s\n", strings.TrimSpace(c.name+" "+c.args), c.summary)
	}
	fmt.Fprintf(p.stdout, adminUsage, list.String())
}

func adminNames() string {
	var names []string
	for _, c := range adminCommands() {
		names = append(names, c.name)
	}
	return strings.Join(names, ", ")
}

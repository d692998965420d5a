package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"switchboard/cmd/switchboard/internal/migrate"
	"switchboard/directory/natsnode"
)

// adminMigrate moves the data of an embedded NATS server to a cluster.
func (p program) adminMigrate(ctx context.Context, args []string) error {
	f := flags("admin migrate")
	from := p.configFlag(f)
	to := f.String("to", "", "settings `file` of the nodes on the cluster")
	leaf := f.String("leaf", "", "`URL` of the cluster's leafnodes listener")
	dry := f.Bool("dry-run", false, "only look whether it can be done")
	if err := parse(f, args); err != nil {
		return err
	}
	if *to == "" || *leaf == "" {
		return usageError{errors.New("admin migrate: -to and -leaf are needed; see: switchboard admin help")}
	}
	before, err := p.load(*from)
	if err != nil {
		return err
	}
	after, err := p.load(*to)
	if err != nil {
		return err
	}
	if err := canMigrate(before, after); err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	cluster, err := natsnode.Open(ctx, after.NATS, log)
	if err != nil {
		return err
	}
	defer cluster.Close(ctx)
	m := &migrate.Move{
		Dir: before.NATS.Dir, To: cluster, Where: after.NATS.URL, DryRun: *dry,
		Say: func(format string, args ...any) { fmt.Fprintf(p.stdout, format+"\n", args...) },
		Leaf: func(ctx context.Context) (*natsnode.Node, error) {
			n := after.NATS
			return natsnode.OpenLeaf(ctx, natsnode.LeafConfig{
				Dir: before.NATS.Dir, URL: *leaf, CredsFile: n.CredsFile, NKeyFile: n.NKeyFile,
				CAFile: n.CAFile, CertFile: n.CertFile, KeyFile: n.KeyFile,
			}, log)
		},
	}
	if err := m.Run(ctx); err != nil {
		return fmt.Errorf("admin migrate: %w; nothing is lost: the same command goes on from here", err)
	}
	if !*dry {
		fmt.Fprintf(p.stdout, "now start the nodes with %s\n", *to)
	}
	return nil
}

// canMigrate reports what in the two settings does not fit.
func canMigrate(before, after Config) error {
	var errs []error
	if before.NATS.URL != "" {
		errs = append(errs, errors.New("nats.url in -config: it has no embedded server; there is nothing to move"))
	}
	if after.NATS.URL == "" {
		errs = append(errs, errors.New("nats.url in -to: empty; it must list the servers of the cluster"))
	}
	if before.Mailbox.Streams != after.Mailbox.Streams {
		errs = append(errs, fmt.Errorf("mailbox.streams in -to: %d, the data lies in %d; set mailbox.streams: %d there",
			after.Mailbox.Streams, before.Mailbox.Streams, before.Mailbox.Streams))
	}
	one, oneErr := readSecret("secret_file in -config", before.SecretFile)
	other, otherErr := readSecret("secret_file in -to", after.SecretFile)
	errs = append(errs, oneErr, otherErr)
	if oneErr == nil && otherErr == nil && !strings.EqualFold(keyID(one.Key(forNumbers)), keyID(other.Key(forNumbers))) {
		errs = append(errs, errors.New("secret_file in -to: another secret than that of -config; nobody's number would be found: copy the file"))
	}
	if err := errors.Join(errs...); err != nil {
		return usageError{fmt.Errorf("admin migrate: %w", err)}
	}
	return nil
}

package directory_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"

	"switchboard/directory"
	"switchboard/directory/e164"
	"switchboard/directory/natsnode"
)

// A phone registers and connects; another number's owner looks it up.
func Example() {
	if err := example(); err != nil {
		fmt.Println(err)
	}
	// Output:
	// the number …101 rings 1 device, on the connection c1
	// it is away
}

func example() error {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	nats, err := natsnode.Open(ctx, natsnode.Config{Dir: dir, Replicas: 1}, log)
	if err != nil {
		return err
	}
	defer nats.Close(ctx)

	c := directory.Default()
	c.Secret, c.Node, c.Replicas = []byte("sixteen bytes or more"), "node-1", nats.Replicas()
	d, err := directory.Open(ctx, nats.Conn(), nats.JetStream(), c, log)
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	defer func() { stop(); <-ended }()
	<-d.Started()

	number, err := e164.Parse("(415) 555-0101", "US")
	if err != nil {
		return err
	}
	acct, err := d.Register(ctx, number)
	if err != nil {
		return err
	}
	phone, err := d.AddDevice(ctx, acct.Account, "my phone", "")
	if err != nil {
		return err
	}
	fence, _, err := d.Bind(ctx, acct.Account, phone.Device, "c1")
	if err != nil {
		return err
	}
	if err := lookUp(ctx, d, number); err != nil {
		return err
	}
	if _, err := d.Unbind(ctx, acct.Account, phone.Device, fence); err != nil {
		return err
	}
	return lookUp(ctx, d, number)
}

func lookUp(ctx context.Context, d *directory.Directory, number e164.Number) error {
	acct, err := d.Resolve(ctx, number)
	if err != nil {
		return err
	}
	bound, err := d.Bindings(ctx, acct)
	if err != nil {
		return err
	}
	if len(bound) == 0 {
		fmt.Println("it is away")
		return nil
	}
	fmt.Println("the number", number, "rings", len(bound), "device, on the connection", bound[0].Conn)
	return nil
}

package main

import (
	"context"
	"io"
)

// Options is what a run is given beside its settings.
type Options struct {
	Stdout   io.Writer // what people read: where to open the page
	LogTo    io.Writer
	AddrFile string
}

// Serve runs until ctx ends.
func Serve(ctx context.Context, c Config, o Options) error {
	<-ctx.Done()
	return nil
}

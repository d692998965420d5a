package main

import "context"

// open builds the parts that the roles ask for.
func (n *node) open(ctx context.Context) error {
	return nil
}

package browserphone

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"testing"
)

// asPhone in the environment has the test binary be the program, asParent have it start
// one and wait.
const asPhone, asParent = "NATLAB_TEST_PHONE", "NATLAB_TEST_PARENT"

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(asPhone) != "":
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		code := Command(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
		stop()
		os.Exit(code)
	case os.Getenv(asParent) != "":
		parent()
	}
	code := m.Run()
	if binary.dir != "" {
		_ = os.RemoveAll(binary.dir)
	}
	os.Exit(code)
}

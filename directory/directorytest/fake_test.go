package directorytest_test

import (
	"context"
	"testing"

	"switchboard/directory"
	"switchboard/directory/directorytest"
)

func TestFake(t *testing.T) {
	directorytest.Run(t, func(testing.TB) directorytest.Nodes {
		w := directorytest.NewWorld()
		return func(name string, answer func(context.Context, directory.Request) ([]byte, error)) directorytest.Directory {
			f := w.Node(name)
			f.Answer(answer)
			return f
		}
	})
}

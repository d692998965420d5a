package kernel_test

import (
	"testing"

	"switchboard/relay/natlab/kernel"
)

func TestDoctor(t *testing.T) {
	needRoot(t)
	for _, f := range kernel.Doctor() {
		t.Logf("%+v", f)
		if f.Needed && !f.OK {
			t.Errorf("needed and missing: %+v", f)
		}
		if f.OK != (f.Get == "") {
			t.Errorf("what is missing is to be got, and nothing else: %+v", f)
		}
	}
}

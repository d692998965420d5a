package kernel_test

import (
	"testing"

	"switchboard/relay/natlab/kernel"
)

func TestDoctor(t *testing.T) {
	needRoot(t)
	relaying := 0
	for _, f := range kernel.Doctor() {
		if f.What == kernel.RelayingInKernel {
			relaying++
			if f.Found == "" {
				t.Errorf("it does not say why: %+v", f)
			}
		}
		t.Logf("%+v", f)
		if f.Needed && !f.OK {
			t.Errorf("needed and missing: %+v", f)
		}
		if f.OK != (f.Get == "") {
			t.Errorf("what is missing is to be got, and nothing else: %+v", f)
		}
	}
	if relaying != 1 {
		t.Errorf("it says %d times whether relays can relay in the kernel", relaying)
	}
}

package offload

import (
	"bytes"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// The program writes its stack in whole words. Linux 6.1 refuses all else to a process
// without CAP_PERFMON, which newer kernels do not, so that they would not tell.
func TestStackIsWrittenInWords(t *testing.T) {
	spec, err := ebpf.LoadCollectionSpecFromReader(bytes.NewReader(_ProgramBytes))
	if err != nil {
		t.Fatal(err)
	}
	words := 0
	for i, in := range spec.Programs["relay"].Instructions {
		class := in.OpCode.Class()
		if !class.IsStore() || in.Dst != asm.RFP {
			continue
		}
		if in.OpCode.Size() != asm.DWord {
			t.Errorf("instruction %d writes less: %v", i, in)
		}
		words++
	}
	if words == 0 {
		t.Error("it writes none: this test looks for something else")
	}
}

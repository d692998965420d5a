package doctor

import (
	"fmt"
	"strings"
)

// DataPath is who relays packets on the machine, as the relay there tells.
type DataPath struct {
	// Setting is data_path in the relay's settings.
	Setting string
	// Path is the one in use, ebpf where the kernel relays, and Reason why it is that one.
	Path, Reason string
	// Interfaces are those at which the kernel does.
	Interfaces []string
}

// dataPath tells who relays, and how to have the kernel do so.
func (d *doctor) dataPath() {
	const check = "data path"
	p := d.System.DataPath
	switch {
	case p == nil:
		d.tell(Warning, check, "not known", "the relay tells it to who has its token, at ops.listen: run this as root, or see the line data path in its log")
	case p.Path == "ebpf":
		d.tell(OK, check, "ebpf: the kernel relays, at "+strings.Join(p.Interfaces, ", "), "")
	default:
		// It may have been chosen, and then nothing is to be changed.
		d.either(p.Setting == p.Path, Warning, check, fmt.Sprintf("%s: the process relays, because: %s", p.Path, p.Reason),
			"calls work, and cost more CPU than where the kernel relays: see relay/GUIDE.md, 10, for the rights that it takes, and then switchboard data-path auto; or relay.data_path: user in the settings, if it is to stay so")
	}
}

package kernel

// RelayingInKernel is what a [Finding] is of that says whether relays can have the kernel
// relay.
const RelayingInKernel = "relaying in the kernel"

// Finding is one thing that the kernel engine needs or can use.
type Finding struct {
	What string `json:"what"`
	OK   bool   `json:"ok"`
	// Needed is whether no lab can be made without it.
	Needed bool `json:"needed"`
	// Found says what is there, or how it failed. Get is how to get what is missing.
	Found string `json:"found,omitempty"`
	Get   string `json:"get,omitempty"`
}

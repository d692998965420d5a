package kernel

// Options are those of a lab. The zero value is good.
type Options struct {
	// Routers is what translates, and Router what does for some of them by name.
	Routers Routers
	Router  map[string]Routers
	// Links is what delays and loses.
	Links Links
	// Seed is what randomness of links and routers in user space follows from. Since the time
	// is real, a seed does not repeat a run.
	Seed uint64
}

package kernel

// Cleaned is what [Clean] has done.
type Cleaned struct {
	Labs       []string // that are gone, by their ids
	Namespaces int
	Processes  int
	Living     []string // labs that were left alone, since their owner lives
}

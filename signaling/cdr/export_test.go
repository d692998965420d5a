package cdr

// Subject is the one of a record.
func Subject(r Record) string { return r.subject() }

// SetMaxScan sets how many records one page looks back through, and how many are
// read at a time.
func SetMaxScan(s *Store, scan, at uint64) { s.maxScan, s.window = scan, at }

// Decode reads a stored record.
var Decode = decode

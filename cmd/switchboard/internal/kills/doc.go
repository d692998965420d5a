// Package kills has the test that kills signaling nodes, with kill -9, in every
// state of a call: the caller's node, the callee's, or both. The phones have real
// media between them, whose longest gap is measured. "make kills" prints a
// table.
package kills

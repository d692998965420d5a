// Package theory says which path a call should take between two accesses, and why.
//
// It says so twice. THEORY.md is for people: a table of pairs of access kinds, each cell
// a [Path] and the number of a reason, and the reasons with the sections of the RFCs that
// they follow from. The program reads that same page, so that what is documented is what
// is expected. [Between] is the law that the table was derived by, as a function of a
// topology, for accesses that have no row. A test holds the two against each other, and
// both against ICE played through the NATs' own tables.
//
// All of it is pure and may be used by several goroutines.
package theory

// Package admintest holds what the operators' API answers against its own
// description.
package admintest

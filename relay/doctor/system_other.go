//go:build !linux

package doctor

// system can look at Linux alone.
func (d *doctor) system() {
	d.tell(Warning, "settings of the machine", "not looked at", "they are looked at on Linux alone")
}

// Package region says in which region a device is best served, and by which
// node.
//
// [Table.Choose] is the rule, a pure function: what the device has measured
// counts first, then the country of its address, then that of its number, then
// the default. Its [Choice] names the [Reason]. [Nodes.Pick] finds a node of a
// region, the less busy one of two taken at random, so that those who are sent
// elsewhere at the same moment are spread. [RankRelays] finds the
// relays for a call, and says of each why it is one of them or not.
//
// [GeoIP] tells the country of an address from a file in the format MaxMind DB,
// and reads the file again when it has changed. [Guide] puts the three together
// for signaling. It asks nobody: what it knows of other nodes are their leases.
package region

// Package kernel makes a [natlab.Topology] of network namespaces: what only a real stack
// shows, with real processes. It runs on Linux as root, and says with [Doctor] what is
// missing.
//
// [Build] makes a namespace for each host, router and network, named natlab-<id>-<name>: `ip
// netns exec` and tcpdump work there, and names of the lab's hosts lead to their addresses. A
// network is a bridge in its namespace, with a veth pair to each of its members. Where its link
// does what the kernel cannot, such as to delay, that is two TAP devices and [link.Line] between
// them: see [Lab.DescribeLink]. A router is nftables'
// where conntrack does what its NAT is to do, and else the [nat.Table] of the virtual
// engine on two TUN devices: see [Lab.Describe]. Packets get the same treatment from the same
// code, but from real time.
//
// It promises that nothing is made in the machine's own namespace, that there is no way out
// of a lab and none in, and that all is gone after [Lab.Close], or after [Clean] where the
// process that held the lab was killed. Processes started by [Lab.Command] do not outlive
// their lab or this process. Threads end with a lab: who starts processes with Pdeathsig by
// other means has to keep their thread (runtime.LockOSThread).
//
// The Lab owns a thread for each namespace, two goroutines for each user-space router, four
// for each link in user space, and one for each capture; Close waits for them.
package kernel

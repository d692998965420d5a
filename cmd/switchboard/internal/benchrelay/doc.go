// Benchrelay measures what a packet costs the relay, and coturn's turnserver beside it,
// where that is installed: on the same network, in the same run, with one core each. It
// needs Linux, root, two cores, and the program ip. "make bench-relay" runs it, and
//
//	make bench-relay BENCH_RELAY="-only switchboard -rows ^up/172/64$ -rounds 1"
//
// a part of it; -h has all that it can be told.
//
// # What is measured
//
// A row is a direction, the bytes of a payload, and the number of allocations:
// up/172/64 is from clients to peers, a packet as Opus has them, 64 calls. In each row
// there are two figures:
//
//   - The CPU of a packet: what the core of the relay ran for one that was delivered, at
//     a rate (-rate) at which no server is at its limit. It is the time of the server's
//     process, all threads, and of the kernel's thread that receives for it, by the
//     scheduler's own clock, so that what else the machine does is not in it, but for
//     what that takes of the caches. The server's part is split into user and system by
//     the kernel's ticks, which are coarse.
//   - The most packets a second: the highest rate of which at most 0.1 % is lost, by
//     bisection to 3 %. A packet that comes more than 10 ms after the last was sent is
//     lost: it sat in a buffer, and a buffer is no speed.
//
// Then there is the memory of 10,000 allocations: by how much the process grew, and what
// the kernel has for a socket beside that.
//
// # How
//
// Servers and generator are in two network namespaces, joined by a veth pair. At each end
// the kernel receives by a thread of its own (threaded NAPI); that of the relay's end
// shares a core with the servers, and the generator's has the other core, as if there
// were network cards whose interrupts go there. Segments of UDP (GSO) are cut in software
// before they go over the cable, so that the counters count what a wire would carry;
// checksums are left out, as for a card that computes them.
//
// The generator makes allocations by TURN, each with a channel to a peer of its own.
// Before a row is measured, a burst goes through each allocation, and has to come out as
// it went in. Then the sockets drop what comes, before anybody is woken, and prebuilt
// frames go on the cable by sendmmsg, -burst of them for one allocation, then as many for
// the next: ChannelData from clients, or plain packets from peers. What was delivered is
// what the generator's end of the cable has counted.
//
// Both servers run all the time, and are measured in turn, for as many rounds as there
// are; what is printed are medians. The first packets are not counted. All that is
// measured comes before whatever else the machine does (-nice), and two runs on one
// machine take turns.
//
// # How to read it
//
// Ratios are such that at most 1 is as good as coturn: CPU ours/theirs, packets
// theirs/ours. Figures of two runs differ by a tenth and more where others work on the
// machine; ratios less so. "Others' share" is what others had of the relay's core while
// the CPU was measured: the more, the colder the caches. "≥" says that it was the
// generator that could send no more.
//
// A packet that comes alone costs two or three times as much as one in a burst: each time
// somebody is woken, and on a virtual machine that is dear. So a server that falls asleep
// after every packet costs more at a low rate than at its limit, and "most" times "CPU"
// may be more than a second.
//
// # What it is not
//
// The latency of packets, clients over TCP and TLS, IPv6, several cores, and network
// cards are not measured.
package main

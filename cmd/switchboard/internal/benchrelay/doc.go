// Benchrelay measures what a packet costs the relay on each of its data paths, and, beside
// them, coturn's turnserver, where that is installed, and the kernel that simply forwards:
// on the same network, in the same run, with one core each. It needs Linux, root, two
// cores, and the program ip. "make bench-relay" runs it, and
//
//	make bench-relay BENCH_RELAY="-only switchboard-ebpf,turnserver -rows ^up/172/64$ -rounds 1"
//
// a part of it; -h has all that it can be told.
//
// # What is measured
//
// The servers are switchboard-ebpf, the relay with data_path: ebpf; switchboard, the same
// with data_path: user; turnserver; forward, which is the kernel of a router in the place
// of the relay; and forward-nat, the same with its addresses and ports translated by
// nftables, where nft is installed. A relay in the kernel can hardly be cheaper than these two.
//
// A row is a direction, the bytes of a payload, and the number of allocations:
// up/172/64 is from clients to peers, a packet as Opus has them, 64 calls; up6 is the same
// over IPv6, with -ipv6. In each row there are these figures of each server:
//
//   - The CPU of a packet: what the core of the relay ran for one that was delivered, at
//     a rate (-rate) at which no server is at its limit. It is the time of the server's
//     process, all threads, and of the kernel's thread that receives for it, which is also
//     where the kernel relays, up to the other end's queue. What else the machine does is
//     not in it, but for what that takes of the caches. The server's part is split into
//     user and system by the kernel's ticks, which are coarse. "Without packets" is how
//     much of that the core runs when nothing comes.
//   - The same where packets wake the other core, see below.
//   - The most packets a second: the highest rate of which at most 0.1 % is lost, by
//     bisection to 3 %, the CPU of a packet there, and what was lost. A packet that comes
//     more than 10 ms after the last was sent is lost: it sat in a buffer, and a buffer is
//     no speed.
//
// A figure of switchboard-ebpf is refused unless the relay's own metrics say that the kernel
// relayed what came through (99.9 % of it, 99 % where the most is looked for), and one of switchboard if the
// kernel relayed anything.
//
// Then there is the memory of 10,000 allocations: by how much the process grew, and what
// the kernel has for a socket beside that.
//
// # How
//
// For each server there are two network namespaces, one for it and one for the generator,
// joined by a veth pair. At each end the kernel receives by a thread of its own (threaded
// NAPI); those of the relays' ends share a core with the servers, and those of the generator's have the
// other core, as if there were network cards whose interrupts go there. Segments of UDP
// (GSO) are cut in software before they go over the cable, so that the counters count what
// a wire would carry; checksums are left out, as for a card that computes them.
//
// The generator makes allocations by TURN, each with a channel to a peer of its own.
// Before a row is measured, a burst goes through each allocation, and has to come out as
// it went in. Then the sockets drop what comes, before anybody is woken, and prebuilt
// frames go on the cable by sendmmsg, -burst of them for one allocation, then as many for
// the next: ChannelData from clients, or plain packets from peers. What was delivered is
// what the generator's end of the cable has counted.
//
// All servers run all the time, and are measured in turn, for as many rounds as there
// are; what is printed are medians. The first packets are not counted. All that is
// measured comes before whatever else the machine does (-nice), and two runs on one
// machine take turns.
//
// # Waking
//
// A veth pair has the sender's core wake the receiver's, by an interrupt from one to the
// other, which no network card does for each packet: cards have rings, and moderate their
// interrupts. So the kernel looks at both ends every 50 µs (-moderation), and nobody is
// woken by the other core. The figures "woken" are without that. There, all that the
// kernel's path does costs less than the waking: on a virtual machine of two cores, of
// 40 µs for a burst of four packets it spent 30 on the interrupt for the other core, and
// the process has that to pay as well.
//
// The cables of the servers that are not being measured are looked at, too, which keeps the
// core from falling asleep: on that machine a look costs three times as much where it is the
// only one that wakes it (-only).
//
// Time is that of the kernel's event task-clock, from one switch between threads to the
// next. The scheduler's own, which top and getrusage show, begins when a thread is woken
// that is to take another's place, though that runs on until the interrupt has come. On
// that machine it counted 21 µs a packet where the thread ran 10, the rest being other
// processes' time; tracing each switch, and samples of what the core runs, agree with the event.
//
// With -soak there are two more columns, which say something on a machine that does nothing
// else: what a thread of least priority lost of the relay's core, interrupts and all, and
// what receiving took of the generator's.
//
// # How to read it
//
// Ratios are such that at most 1 is as good as what is compared with, coturn or the
// relay's own process: CPU by theirs, packets theirs by these. Figures of two runs differ by a tenth and more where others work on the
// machine; ratios less so. "Others' share" is what others had of the relay's core while
// the CPU was measured: the more, the colder the caches. "≥" says that it was the
// generator that could send no more, or take no more.
//
// At a low rate much of the cost of a packet is not of the packet: the ends of the cable are
// looked at whether something came or not, and who falls asleep is woken. Of servers that
// cost little that is most, so that ratios come nearer to 1 the less there is to do. A router's
// are what a relay cannot be below.
//
// A packet that comes alone costs two or three times as much as one in a burst (-burst 1,4,8).
// So a server that falls asleep after every packet costs more at a low rate than at its limit, and "most" times "CPU"
// may be more than a second.
//
// # What it is not
//
// The latency of packets, clients over TCP and TLS, several cores, and network
// cards are not measured.
package main

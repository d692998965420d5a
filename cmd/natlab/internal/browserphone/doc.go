// Package browserphone is headless Chromium as one side of a call: a program that a lab
// starts in the network of a host, as it starts softphone there.
//
// The browser opens the server's own origin over HTTPS and imports the SDK that is
// served there, so that what is tried is what people have: getUserMedia in a secure
// context, with Chromium's false camera and microphone, and the SDK's own way to place,
// take and repair calls. The page reports what happens as it happens, and reads getStats
// every 100 ms.
//
// # What comes out
//
// [Command] prints one [Line] of JSON a line. While the call goes on these are moments,
// on the clock of the machine, and a view of the call once its media is there and the path
// has settled; in the end there is the view at the end, with all paths that there were, and,
// where something is not as it should be, a failure in a sentence, whose code is that of
// the process, too. The page's last view is printed even when the browser dies.
//
// # What it promises
//
// The browser speaks with nobody but the servers of the lab: it resolves no name but
// those of the hosts file and of the servers, uses no proxy, and does nothing in the
// background. Its profile is a new folder that is removed. It never outlives the program:
// it ends with it, with its standard input's "hangup", with SIGTERM and SIGINT, with its
// parent, and, when the program is killed, by the kernel's doing.
//
// Neither numbers nor tokens are printed. Candidates' addresses are.
//
// # Goroutines
//
// [Command] owns two: one reads orders from standard input and may outlive it, since a
// read cannot be taken back; the other watches for the parent's end. [Run] owns the one
// that reads what the page says, and waits for it.
package browserphone

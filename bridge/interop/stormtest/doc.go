// Package stormtest is a storm for a Unix port host: telnetcpc as it is built, and programs that know no rules.
//
//	programs in C, stty, python3-serial, sh -- PORT == telnetcpc ==[weather]== access server, recording device
//	strangers: other people's terminals, which take every number that is free
//
// The programs open the port by its path, by links, by /proc/self/fd and /dev/fd; they fork, exec, have threads and
// alarms; they are stopped and killed in whatever they are at. The remote comes and goes meanwhile: connections are reset,
// half closed, stalled. In the end the agent is killed, under load. Whatever a program does it notes in a journal, before
// and after each call; whatever reaches the device is on a tape. What must hold of the two is in the table of promises.
//
// A round is one agent's life. It is drawn from a seed, which is printed: TELNETCPC_STORM_SEED plays that round again, as far
// as processes can be played again, TELNETCPC_STORM_TIME says how long to go on. TELNETCPC_STORM_ALL=1 holds the storm to the
// promises too that the table says are not kept yet.
//
// Run takes a Host, as hosttest.Run does, so that the kernel tty can have the same storm in a kernel that is booted for it.
package stormtest

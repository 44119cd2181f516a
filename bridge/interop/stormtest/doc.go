// Package stormtest is a stress test of a Unix port host: the built telnetcpc, and programs that follow no rules.
//
//	programs in C, stty, python3-serial, sh -- PORT == telnetcpc ==[weather]== access server, recording device
//	strangers: terminals of other programs, which take every free pty number
//
// The programs open the port by its path, by links, by /proc/self/fd and /dev/fd; they fork, exec, use threads and alarms;
// they are stopped and killed at any point. Meanwhile the remote comes and goes: connections are reset, half-closed, stalled.
// At the end the agent is killed under load. A program records every call in a journal, before and after it; everything that
// reaches the device is recorded on a tape. The table of promises lists what must be true of journal and tapes.
//
// A round is the life of one agent. Its random choices come from a seed, which is printed. TELNETCPC_STORM_SEED repeats the
// round with that seed, as far as processes can be repeated; TELNETCPC_STORM_TIME sets the duration. TELNETCPC_STORM_ALL=1 also
// fails the test for promises that the table lists as not kept yet.
//
// Run takes a Host, as hosttest.Run does, so that the kernel tty can have the same storm in a kernel booted for it.
package stormtest

// Package terminal opens a pseudo-terminal and uses its master. It opens a pty that no other program has open; reads,
// writes and waits for its master without a thread and without an allocation; and opens its slave. It must not know
// what the programs at the slave do: which of them has it open, in which order they set and wrote, and what that means
// for a serial port is for its callers, the hosts ptyhost and ptyhost/run.
package terminal

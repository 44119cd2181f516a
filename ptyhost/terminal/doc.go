// Package terminal makes a pseudo-terminal and uses it from its master's side. It makes a pty that no other program has opened,
// reads, writes and waits for its master without a thread and without an allocation, and opens its slave. It does not know what
// the programs at the slave do: which of them has it open, in which order they set and wrote, and what that means for a serial
// port is the business of its callers, the hosts ptyhost and ptyhost/run.
package terminal

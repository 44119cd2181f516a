// Package terminal makes and uses a pseudo-terminal as the program on its master's side does. It knows how to make a pty that
// nobody else has opened, how to read, write and wait for its master without a thread and without an allocation, and
// how to open its slave. It does not know what the slave's users do: which of them has it open, in which order they set
// and wrote, and what that means for a serial port is the business of its callers, the hosts ptyhost and ptyhost/run.
package terminal

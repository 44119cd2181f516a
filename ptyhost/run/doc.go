// Package run is a port host for the programs that it starts itself: on Linux, without privileges, and with everything
// that a UART has. The command telnetcpc run is its only caller.
//
// # How it works
//
// A port is a pseudo-terminal (pty(7)); bytes go through it as through any other. What a pty cannot do (7E1, DTR and
// RTS, breaks, TIOCMIWAIT, TIOCOUTQ ...) is done here: the program runs under a seccomp filter whose action for some
// system calls is SECCOMP_RET_USER_NOTIF (seccomp(2), seccomp_unotify(2), kernel/seccomp.c). The kernel blocks the
// calling thread and notifies this process, the supervisor, through the filter's listener. The supervisor answers with
// a result or an errno, or lets the kernel perform the call (SECCOMP_USER_NOTIF_FLAG_CONTINUE). The program is blocked
// meanwhile: bytes that it wrote before the call are in the pty, bytes that it will write are not, so the order of
// bytes and changes is exact. Threads and children inherit the filter; nothing can remove it. Programs that were
// started elsewhere can open the port, too, and find an ordinary pty.
//
// The filter sees numbers, not files or paths. So these calls are trapped on every file, and most of them are handed
// back to the kernel:
//
//   - ioctl with a request of a serial port, such as TCSETS, TIOCMBIS, TCSBRK, TCFLSH, TIOCSSERIAL (calls_linux.go). On
//     a descriptor of the port's slave it is performed here, as the kernel's serial drivers would
//     (drivers/tty/serial/serial_core.c, drivers/tty/tty_ioctl.c); on all others by the kernel.
//   - open, openat, openat2, creat. If the path leads to the port, this process opens the slave and installs a
//     duplicate in the program as the result of its call (SECCOMP_IOCTL_NOTIF_ADDFD). Before that the open waits for
//     the session and, like a driver's, for the carrier (tty_port_block_til_ready in drivers/tty/tty_port.c). The
//     kernel performs the open itself if the port is to become the program's controlling terminal, which an added
//     descriptor never does.
//   - With --as, paths that need not exist are mapped to the port. Then stat, access, readlink, getxattr and their
//     variants are trapped, too, so that a program finds a character device there.
//
// Everything else goes to the kernel untrapped: read, write, poll, close, dup, ioctls of terminals such as TIOCGWINSZ.
// The last close shows as a hangup on the pty's master (life_linux.go). Bytes pass through up_linux.go and
// down_linux.go.
//
// # The life of a call
//
//	receive            notify_linux.go      SECCOMP_IOCTL_NOTIF_RECV, in one goroutine at a time (serve_linux.go)
//	is it a restart?   restart_linux.go     a signal interrupts a call as it would in a driver; SA_RESTART makes it arrive again
//	which file?        descriptor_linux.go  for an ioctl: /proc/TID/fd, without blocking on a file server
//	which path?        pathcalls_linux.go   for a path: read it from the program's memory (memory_linux.go), then resolve it as
//	                   fastpath_linux.go    the kernel would for that program, path_resolution(7): from the kernel's cache,
//	                   resolve_linux.go     or element by element, in a goroutine of its own that may block
//	perform            ioctl_linux.go, lines_linux.go, break_linux.go, termios_linux.go, serial_linux.go: ioctls
//	                   opens_linux.go, life_linux.go: opens and closes;  metadata_linux.go: stat and others
//	wait               wait_linux.go        a call that must wait has a goroutine: for a drain, a modem line, the session
//	answer             call_linux.go        SECCOMP_IOCTL_NOTIF_SEND, or ADDFD (addfd_linux.go)
//
// A process may change while it is inspected: the kernel can give its number to another, or a signal can end the call.
// So everything that was read counts only if the notification is still valid afterwards (SECCOMP_IOCTL_NOTIF_ID_VALID),
// and the program's memory is written only then.
//
// # Processes
//
// The last close of a listener makes all trapped calls fail, and a stop of the supervisor in the middle of ADDFD would
// tear an open. So there are more processes than one. All are this binary, started under another name (Main):
//
//	telnetcpc            supervisor: has the ports, answers calls (run_linux.go, host_linux.go, port_linux.go)
//	telnetcpc: launcher  installs the filter (filter_linux.go), sends the listener here through a socket pair, and executes the
//	                     program (launcher_linux.go, start_linux.go)
//	telnetcpc: injector  makes the ADDFD requests, with all signals blocked and in a session of its own (injector_linux.go)
//	telnetcpc: standby   has a duplicate of the listener; when the supervisor is gone it lets the kernel perform the calls of the
//	                     programs that are left, except those that lead to what was the port (standby_linux.go)
//
// # What it rests on, and what it is not
//
// It needs Linux 5.9, and permission to inspect processes of the same user: /proc, process_vm_readv(2), and Yama's
// ptrace_scope (Documentation/admin-guide/LSM/Yama.rst), for which this process becomes the parent of the programs'
// orphans. Check reports what is missing (check_linux.go).
//
// It is no sandbox: a program can change what a path or a structure says after it was read, and every program of the
// tree gets the same answers.
//
// The package must not know that there is a network, nor who calls it: it imports uart, ordered, termios and what port
// hosts share.
package run

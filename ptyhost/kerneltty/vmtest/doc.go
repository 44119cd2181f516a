// Package vmtest holds tests only: the kernel tty host on a real kernel. Few machines that build this have the kernel's
// modules and give a test root on them, so the tests boot Debian's stock kernel in qemu, without KVM, and run inside it.
//
//	go test, outside                       the same test binary, inside
//	----------------                       ----------------------------
//	initramfs, qemu            boots  ->   the machine's own files by 9p, changes go to memory
//	reads ttyS2                <-  says    every check is a subtest, run as root
//	                                       ttyS1 is a 16550A for ser2net
//
// The checks are the kernel tty's own, here, and those that every host passes, in bridge/interop/hosttest.
//
// Inside is where the environment and the kernel's command line both say so: root alone is no sign, as many are root on
// their own machine. Outside, what each check said becomes a subtest of the same name. Time inside means nothing; order,
// content and ratios do.
//
// scripts/test installs qemu and busybox and unpacks the kernel; a test that finds them missing skips and says so, or
// fails under TELNETCPC_NEED=all. With -short nothing here runs.
package vmtest

// Package vmtest holds tests only: the kernel tty host on a real kernel. Few machines that build this have the kernel's
// modules and give a test root on them, so the tests boot Debian's stock kernel in qemu, without KVM, and run inside it.
//
//	go test, outside                       the same test binary, inside
//	----------------                       ----------------------------
//	initramfs, qemu            boots  ->   the machine's own files by 9p, changes go to memory
//	reads ttyS2               <- reports  every check is a subtest, run as root
//	                                       ttyS1 is a 16550A for ser2net
//
// The checks are the kernel tty's own, here, and those that every host passes, in bridge/interop/hosttest.
//
// The test is inside if both the environment and the kernel's command line say so: being root is no sign, as many people are
// root on their own machine. Outside, the output of each check becomes a subtest of the same name. Time inside means nothing;
// order, content and ratios do.
//
// scripts/test installs qemu and busybox and unpacks the kernel. If they are missing, a test skips with that reason, or fails
// under TELNETCPC_NEED=all. With -short nothing here runs.
package vmtest

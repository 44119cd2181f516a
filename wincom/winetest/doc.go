// Package winetest holds tests only: telnetcpc as it is built for Windows. Few machines that build this run Windows, so
// the tests make a fresh Wine in a temporary directory and run inside it, beside a kernel driver of ours that stands in
// for com0com's.
//
//	go test, on Linux                      inside Wine
//	-----------------                      -----------
//	prefix, drivers           makes   ->   the Windows unit tests of every package
//	ser2net == device                      telnetcpc.exe attach COM9 -- COM9 and CNCB0 of the driver
//	tells the program         stdin   ->   a program that has COM9 open: this package's own test binary
//	what to do, looks at both  <- stdout
//
// The same test binary, built for Windows, is what a user runs on a real Windows: scripts/verify-windows.ps1 starts it.
//
// What Wine cannot show: the real com0com, its signature and its installer; that a port that is open refuses a second
// program; Device Manager; sleep; the pace of a UART in front of the driver. Time inside means little; order and content
// do.
//
// scripts/test installs Wine and the compiler; a test that finds them missing skips and says so, or fails under
// TELNETCPC_NEED=all. With -short nothing here runs.
package winetest

// Package winetest holds only tests: of telnetcpc as it is built for Windows. Few machines that build this run Windows, so
// on Linux the tests make a fresh Wine prefix in a temporary directory and run in it, with a kernel driver of our own in
// place of com0com's (testdata/c0sim.c). Nothing calls it; scripts/test and scripts/verify-windows.ps1 run it.
//
//	go test, on Linux                      in Wine
//	-----------------                      -------
//	prefix, drivers           makes   ->   the Windows unit tests of every package
//	ser2net == device                      telnetcpc.exe attach COM9 -- COM9 and CNCB0 of the driver
//	controls the program,     stdin   ->   a program that has COM9 open: this package's own test binary,
//	checks both ends           <- stdout   called the puppet
//
// On a real Windows, a user runs the same test binary with scripts/verify-windows.ps1.
//
// Wine cannot show: the real com0com, its signature and its installer; that a second program cannot open a port; Device
// Manager; sleep; the pace of a UART. Durations mean little in Wine; order and content count.
//
// scripts/test installs Wine and the compiler. If they are missing the tests skip, or fail under TELNETCPC_NEED=all. With
// -short nothing in Wine runs.
package winetest

// Package hostile holds tests only: the whole client side of telnetcpc, bridge and remote over real TCP, against a server
// that means it harm. testdata/rows.txt is the table of what that server does; testdata/README.md says how to read it.
//
//	application -- fake port == bridge, remote -- TCP -- hostile server
//	bystander   -- fake port == bridge, remote -- TCP -- our own access server
//
// Both sessions live in one process, which is one row's alone: so what a row costs in memory, goroutines and log lines is
// that row's, however many rows run beside it. It needs nothing but Go.
package hostile

// Package hostile has only tests: the whole client side of telnetcpc, bridge and remote over real TCP, against a malicious
// server. testdata/rows.txt lists what that server does; testdata/README.md explains the format.
//
//	application -- fake port == bridge, remote -- TCP -- hostile server
//	bystander   -- fake port == bridge, remote -- TCP -- our own access server
//
// Each row runs in a process of its own, which has both sessions. So memory, goroutines and log lines can be measured per row,
// however many rows run in parallel. It needs nothing but Go.
package hostile

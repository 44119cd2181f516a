// Package devpath is what port hosts on Unix share: the right to the path at which applications find a port (Take), who may
// open it (LookUp), and the process that removes the path's link when its maker is killed (Main). It knows neither ports nor
// what makes them.
package devpath

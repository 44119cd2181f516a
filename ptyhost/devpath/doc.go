// Package devpath is what port hosts on Unix share: the claim to the path at which applications find a port (Take), who may
// open it (LookUp), and the process that removes the path's link if its maker is killed (Main). It knows neither ports nor
// what makes them. The hosts ptyhost, ptyhost/run and ptyhost/kerneltty call it, and cmd calls Main and Stop.
package devpath

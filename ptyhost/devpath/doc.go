// Package devpath is what port hosts on Unix share: the right to the path at which applications find a port (Take), and
// who may open it (LookUp). It knows neither ports nor what makes them.
package devpath

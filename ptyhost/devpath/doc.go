// Package devpath is what port hosts on Unix share: the claim to the path at which applications open a port (Take), its
// owner, group and mode (LookUp), and the watcher process, which removes the path's link if the agent is killed (Main).
// It must not know ports or hosts. The hosts ptyhost, ptyhost/run and ptyhost/kerneltty call it, and cmd calls Main and
// Stop.
package devpath

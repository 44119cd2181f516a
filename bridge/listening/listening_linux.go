package listening

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// list reads the kernel's tables and finds the processes that hold the sockets, among those that this user may inspect:
// the user's own, or all of them as root.
func list(_ context.Context, port uint16) ([]Listener, error) {
	sockets, err := readTables(port)
	if err != nil || len(sockets) == 0 {
		return nil, err
	}
	holders := findHolders(sockets)
	var all []Listener
	for _, s := range sockets {
		l := Listener{Address: s.address, User: userName(s.uid)}
		for _, p := range holders[s.inode] {
			l.PID, l.Process = p.pid, p.name
			all = append(all, l)
		}
		if len(holders[s.inode]) == 0 {
			all = append(all, l)
		}
	}
	return all, nil
}

// socket is a line of /proc/net/tcp or tcp6 (proc_net_tcp.rst in the kernel's documentation).
type socket struct {
	address netip.AddrPort
	uid     string
	inode   string
}

// readTables returns the sockets that listen on port. A kernel without IPv6 has no tcp6. A socket for both families is
// only in tcp6.
func readTables(port uint16) ([]socket, error) {
	var all []socket
	for _, name := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		f, err := os.Open(name)
		if errors.Is(err, fs.ErrNotExist) && name == "/proc/net/tcp6" {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list TCP listeners: %w (is /proc mounted?)", err)
		}
		found, err := parseTable(f, port)
		_ = f.Close() // was only read
		if err != nil {
			return nil, fmt.Errorf("list TCP listeners: read %s: %w", name, err)
		}
		all = append(all, found...)
	}
	return all, nil
}

const listenState = "0A" // TCP_LISTEN

// parseTable reads one of the two tables. It skips lines that it cannot parse.
func parseTable(r io.Reader, port uint16) ([]socket, error) {
	var all []socket
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < 10 || f[3] != listenState {
			continue
		}
		if at, ok := parseAddress(f[1]); ok && at.Port() == port {
			all = append(all, socket{address: at, uid: f[7], inode: f[9]})
		}
	}
	return all, lines.Err()
}

// parseAddress reads "0100007F:0E70". The kernel prints an address as 32-bit words in the machine's byte order; writing
// each word back restores network order.
func parseAddress(s string) (netip.AddrPort, bool) {
	host, service, _ := strings.Cut(s, ":")
	port, err := strconv.ParseUint(service, 16, 16)
	if err != nil {
		return netip.AddrPort{}, false
	}
	raw, err := hex.DecodeString(host)
	if err != nil || len(raw)%4 != 0 {
		return netip.AddrPort{}, false
	}
	for word := range slices.Chunk(raw, 4) {
		binary.NativeEndian.PutUint32(word, binary.BigEndian.Uint32(word))
	}
	at, ok := netip.AddrFromSlice(raw)
	return netip.AddrPortFrom(at.Unmap(), uint16(port)), ok
}

// holder is a process that has a socket open.
type holder struct {
	pid  int
	name string
}

// findHolders returns the processes that have the sockets open, by inode. It skips processes that this user may not
// inspect and those that end meanwhile.
func findHolders(sockets []socket) map[string][]holder {
	links := map[string]string{} // what /proc/PID/fd/N points to: the inode
	for _, s := range sockets {
		links["socket:["+s.inode+"]"] = s.inode
	}
	found := map[string][]holder{}
	processes, _ := filepath.Glob("/proc/[0-9]*") // the only error is a bad pattern
	for _, dir := range processes {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			continue
		}
		for inode := range inodesOf(dir, links) {
			name, _ := os.ReadFile(filepath.Join(dir, "comm")) // empty if the process has just ended
			found[inode] = append(found[inode], holder{pid, strings.TrimSuffix(string(name), "\n")})
		}
	}
	return found
}

// inodesOf returns which of the sockets a process has open: each once, even if it has several descriptors of it.
func inodesOf(dir string, links map[string]string) map[string]bool {
	open := map[string]bool{}
	descriptors, _ := os.ReadDir(filepath.Join(dir, "fd")) // fails for another user's process
	for _, d := range descriptors {
		to, err := os.Readlink(filepath.Join(dir, "fd", d.Name()))
		if inode, ok := links[to]; ok && err == nil {
			open[inode] = true
		}
	}
	return open
}

// userName returns a user's name, or the number if it has none.
func userName(uid string) string {
	u, err := user.LookupId(uid)
	if err != nil {
		return uid
	}
	return u.Username
}

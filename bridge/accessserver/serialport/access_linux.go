package serialport

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// holder names a program that has the port open, as far as this user may see: " (picocom, process 1234)".
func holder(path string) string {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return ""
	}
	fds, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, fd := range fds {
		if target, err := os.Readlink(fd); err != nil || target != real {
			continue
		}
		pid := strings.Split(fd, "/")[2]
		name, err := os.ReadFile("/proc/" + pid + "/comm")
		if err != nil || pid == strconv.Itoa(os.Getpid()) {
			continue
		}
		return fmt.Sprintf(": %s, process %s", strings.TrimSpace(string(name)), pid)
	}
	return ""
}

// whoMay is the way out where the right is missing: the group that has it, on Debian dialout.
func whoMay(path string) string {
	const again = "then log in again"
	info, err := os.Stat(path)
	if err != nil {
		return "ask whoever administers this machine"
	}
	group := "dialout"
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && stat.Gid != 0 {
		if g, err := user.LookupGroupId(strconv.Itoa(int(stat.Gid))); err == nil {
			group = g.Name
		}
	}
	return fmt.Sprintf("group %s may use it: sudo usermod -aG %s $USER, %s", group, group, again)
}

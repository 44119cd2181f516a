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

// holderOf names another program that has the port open: ": picocom, process 1234". It is empty if this user may not see it.
func holderOf(path string) string {
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

// permissionHint returns how a user gets permission: by joining the port's group, which is dialout on Debian.
func permissionHint(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return "ask the administrator of this machine"
	}
	group := "dialout"
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && stat.Gid != 0 {
		if g, err := user.LookupGroupId(strconv.Itoa(int(stat.Gid))); err == nil {
			group = g.Name
		}
	}
	return fmt.Sprintf("group %s may use it: sudo usermod -aG %s $USER, then log in again", group, group)
}

package vmtest

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// bootModules are the modules that the guest needs to reach this machine's files; it loads the others from there.
var bootModules = []string{"virtio_pci", "9pnet_virtio", "9p", "overlay"}

// initScript is the guest's first process, up to the runs. The machine's files are read-only; what is written over them
// stays in the guest's memory. ser2net needs a directory for locks, and finds no address, not even a loopback one, on a
// machine that has no other. %[1]s are the modules in order, %[2]s is the kernel's package.
const initScript = `#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for m in %[1]s; do insmod /modules/$m || echo "insmod $m failed"; done
mount -t 9p -o trans=virtio,version=9p2000.L,ro,msize=262144,cache=loose host /host
mount -t tmpfs tmpfs /memory
mkdir /memory/upper /memory/work
mount -t overlay -o lowerdir=/host,upperdir=/memory/upper,workdir=/memory/work overlay /new
mount -t proc proc /new/proc
mount -t sysfs sys /new/sys
mount -t devtmpfs dev /new/dev
mkdir -p /new/dev/pts /new/dev/shm /new/lib/modules
mount -t devpts -o ptmxmode=666 devpts /new/dev/pts
mount -t tmpfs tmpfs /new/dev/shm
mount -t tmpfs tmpfs /new/run
mount -o bind /host%[2]s/lib/modules /new/lib/modules
mkdir /new/run/lock
ip link set lo up
ip addr add 192.0.2.1/32 dev lo
hostname vmtest
`

// A run among the machine's files. %[1]s is the variable with its value, %[2]s the command.
const runScript = `
chroot /new /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TMPDIR=/tmp LC_ALL=C.UTF-8 %[1]s %[2]s >/dev/ttyS2 2>&1
echo "ended $?" >/dev/ttyS2
`

// A run with the initramfs alone. It is the last one, because it sends the devices to sleep, and the driver of 9p's device does
// not resume.
const aloneScript = `
mount -t proc proc /alone/proc
mount -t sysfs sys /alone/sys
mount -t devtmpfs dev /alone/dev
chroot /alone /bin/env -i PATH=/bin TMPDIR=/tmp %[1]s %[2]s >/dev/ttyS2 2>&1
echo "ended $?" >/dev/ttyS2
`

const endScript = `
sync
poweroff -f
`

// pack writes the initramfs whose first process runs the command for each value of the variable.
func (k kernel) pack(file string, runs []string, command func(value string) []string) error {
	modules, err := k.order(bootModules)
	if err != nil {
		return err
	}
	var a archive
	for _, dir := range []string{"bin", "dev", "proc", "sys", "host", "memory", "new", "modules"} {
		a.add(dir, 0o040755, nil)
	}
	var names []string
	for _, m := range modules {
		text, err := os.ReadFile(filepath.Join(k.root, "lib", "modules", k.version, m))
		if err != nil {
			return err
		}
		names = append(names, filepath.Base(m))
		a.add("modules/"+filepath.Base(m), 0o100644, text)
	}
	busybox, err := os.ReadFile(k.busybox)
	if err != nil {
		return err
	}
	a.add("bin/busybox", 0o100755, busybox)
	root, err := filepath.EvalSymlinks(k.root)
	if err != nil {
		return err
	}
	script := fmt.Appendf(nil, initScript, strings.Join(names, " "), root)
	for _, value := range runs {
		text, words := runScript, command(value)
		if value == insideAlone {
			if err := a.carry(busybox, words[0]); err != nil {
				return err
			}
			text, words[0] = aloneScript, "/bin/"+filepath.Base(words[0])
		}
		script = fmt.Appendf(script, text, insideVariable+"="+value, strings.Join(words, " "))
	}
	a.add("init", 0o100755, append(script, endScript...))
	a.add("TRAILER!!!", 0, nil)
	return os.WriteFile(file, a.Bytes(), 0o600)
}

// carry adds what the run without the machine's files needs: the test, stty, env, and dbus-daemon with its libraries.
func (a *archive) carry(busybox []byte, test string) error {
	text, err := os.ReadFile(test)
	if err != nil {
		return err
	}
	daemon, err := exec.LookPath("dbus-daemon")
	if err != nil {
		return fmt.Errorf("%w (Debian's package: dbus-daemon; scripts/test installs it)", err)
	}
	libraries, err := exec.Command("ldd", daemon).Output()
	if err != nil {
		return fmt.Errorf("ldd %s: %w", daemon, err)
	}
	files := map[string][]byte{
		"bin/" + filepath.Base(test): text, "bin/stty": busybox, "bin/env": busybox, "bin/dbus-daemon": nil,
		"etc/passwd": []byte("root:x:0:0:root:/:/bin/sh\n"), // for dbus-daemon, which looks up its users there
	}
	if files["bin/dbus-daemon"], err = os.ReadFile(daemon); err != nil {
		return err
	}
	for _, word := range strings.Fields(string(libraries)) {
		if strings.HasPrefix(word, "/") {
			if files[strings.TrimPrefix(word, "/")], err = os.ReadFile(word); err != nil {
				return err
			}
		}
	}
	made := map[string]bool{}
	directory := func(name string) {
		dir := "alone"
		for part := range strings.SplitSeq("./"+name, "/") {
			if dir = filepath.Join(dir, part); !made[dir] {
				a.add(dir, 0o040755, nil)
				made[dir] = true
			}
		}
	}
	for _, name := range []string{"dev", "proc", "sys", "tmp"} {
		directory(name)
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		directory(filepath.Dir(name))
		a.add("alone/"+name, 0o100755, files[name])
	}
	return nil
}

// order returns the files of the modules, from the version's directory, dependencies first.
func (k kernel) order(wanted []string) ([]string, error) {
	text, err := os.ReadFile(filepath.Join(k.root, "lib", "modules", k.version, "modules.dep"))
	if err != nil {
		return nil, err
	}
	var files []string
	for _, name := range wanted {
		for line := range strings.Lines(string(text)) {
			file, needs, _ := strings.Cut(line, ":")
			if !strings.HasPrefix(filepath.Base(file), name+".ko") {
				continue
			}
			// modules.dep names the nearest first.
			list := append([]string{file}, strings.Fields(needs)...)
			slices.Reverse(list)
			files = append(files, list...)
		}
	}
	var once []string
	for _, f := range files {
		if !slices.Contains(once, f) {
			once = append(once, f)
		}
	}
	return once, nil
}

// archive is a cpio archive in the new ASCII format, which the kernel's Documentation/driver-api/early-userspace/
// buffer-format.rst describes.
type archive struct {
	bytes.Buffer
	inodes int
}

// add appends a file; mode includes the type.
func (a *archive) add(name string, mode uint32, text []byte) {
	a.inodes++
	links := 1
	fmt.Fprintf(a, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x", a.inodes, mode, 0, 0, links, 0,
		len(text), 0, 0, 0, 0, len(name)+1, 0)
	a.WriteString(name + "\x00")
	a.pad()
	a.Write(text)
	a.pad()
}

// pad fills up to the next word.
func (a *archive) pad() {
	for a.Len()%4 != 0 {
		a.WriteByte(0)
	}
}

package vmtest

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"telnetcpc/bridge/interop/hosttest"
	"telnetcpc/bridge/testenv"
)

const (
	// insideVariable and insideWord mean that this process runs in the guest.
	insideVariable = "TELNETCPC_INSIDE_VM"
	insideWord     = "telnetcpc.vmtest"

	// The variable's values: which checks run.
	insideSuite   = "suite"   // those that make a port or two in their own process
	insideWhole   = "whole"   // most of them
	insideAlone   = "alone"   // those that run without this machine's files
	insideCounted = "counted" // those that measure, where time is counted

	// How long a whole run takes depends on what else the machine does: the only limit is the -timeout of the test outside (go
	// help testflag). The guest ends so long before it, and reports where it hung; qemu ends after that.
	guestEarlier = 45 * time.Second
	qemuEarlier  = 15 * time.Second

	memory = "1024" // MiB
)

// inside reports whether this process runs in the guest.
func inside() bool {
	line, err := os.ReadFile("/proc/cmdline")
	return err == nil && os.Getenv(insideVariable) != "" && slices.Contains(strings.Fields(string(line)), insideWord)
}

func TestMain(m *testing.M) {
	hosttest.Main()
	beApplication()
	os.Exit(m.Run())
}

// TestKernelTTY boots the kernel and runs the checks inside; inside, it runs the checks themselves.
func TestKernelTTY(t *testing.T) {
	if inside() {
		switch os.Getenv(insideVariable) {
		case insideSuite:
			runSuite(t)
		case insideAlone:
			t.Run("sleep", checkSleep)
		case insideCounted:
			t.Run(ratios, checkRatios)
		case insideStorm:
			t.Run("storm", checkStorm)
		default:
			runChecks(t)
		}
		return
	}
	if testing.Short() {
		t.Skip("left out by -short: it boots a kernel")
	}
	k := needKernel(t)
	dir := t.TempDir()
	program := filepath.Join(dir, "telnetcpc")
	guest := filepath.Join(dir, "vmtest.test")
	build(t, "CGO_ENABLED=0", "build", "-o", program, "telnetcpc/cmd/telnetcpc")
	build(t, "CGO_ENABLED=0", "test", "-c", "-o", guest, "telnetcpc/ptyhost/kerneltty/vmtest")
	suite := guest
	if testenv.Race {
		suite = filepath.Join(dir, "vmtest-race.test")
		build(t, "CGO_ENABLED=1", "test", "-race", "-c", "-o", suite, "telnetcpc/ptyhost/kerneltty/vmtest")
	}
	copyFile(t, filepath.Join("..", "..", "..", "scripts", rules), filepath.Join(dir, rules))
	command := func(value string) []string {
		test := guest
		if value == insideSuite {
			test = suite
		}
		return []string{test, "-test.run='" + chosen() + "'", "-test.v", "-test.timeout=" + guestTimeout(t)}
	}
	var out string
	for _, b := range boots {
		if !b.holds(chosen()) {
			continue
		}
		began := time.Now()
		out += k.run(t, dir, b, command)
		t.Logf("kernel %s, %s: the run took %v", k.version, strings.Join(b.runs, ", "), time.Since(began).Round(time.Second))
	}
	retell(t, out)
}

// guestTimeout is the -timeout of a test inside, as a word of the guest's shell: what is left outside when that test starts.
func guestTimeout(t *testing.T) string {
	deadline, ok := t.Deadline()
	if !ok {
		return "0"
	}
	return fmt.Sprintf("$((%d - $(date +%%s)))s", deadline.Add(-guestEarlier).Unix())
}

// ratios is the name of the check that measures.
const ratios = "ratios to a pty"

// boot is one start of the kernel, for some of the checks.
type boot struct {
	runs    []string // values of the variable
	machine []string // of qemu
}

// boots are two. Measurements run on a processor whose clock counts instructions, two nanoseconds each: it stops while qemu
// waits for the processor on a busy machine, so the ratio of two times is the same each time.
var boots = []boot{
	{[]string{insideSuite, insideWhole, insideAlone}, []string{"-smp", "2"}},
	{[]string{insideCounted}, []string{"-smp", "1", "-icount", "shift=1"}},
}

// holds reports whether a boot has checks that are selected. The names of the others are not known here.
func (b boot) holds(chosen string) bool {
	_, check, ok := strings.Cut(chosen, "/")
	if !ok {
		return true
	}
	pattern, err := regexp.Compile(check)
	measures := err == nil && pattern.MatchString(strings.ReplaceAll(ratios, " ", "_"))
	return measures == (b.runs[0] == insideCounted)
}

// chosen is -run: what is selected outside, such as TestKernelTTY/drain, runs inside.
func chosen() string {
	if f := flag.Lookup("test.run"); f != nil && strings.Contains(f.Value.String(), "TestKernelTTY") && !strings.Contains(f.Value.String(), "'") {
		return f.Value.String()
	}
	return "^TestKernelTTY$"
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	text, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// build runs the go command. If this test has the race detector, the suite inside has it too; the other checks do not, because
// it takes too long on the emulated processor.
func build(t *testing.T, cgo string, args ...string) {
	t.Helper()
	cmd := exec.Command("go", args...)
	cmd.Env = append(os.Environ(), cgo)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// kernel is the files that a boot needs.
type kernel struct {
	qemu, busybox string
	root          string // of the unpacked package, with boot/ and lib/modules/
	version       string
}

// needKernel finds the files, or skips with what is missing.
func needKernel(t *testing.T) kernel {
	t.Helper()
	k, err := findKernel()
	if err != nil {
		testenv.Skip(t, err)
	}
	return k
}

func findKernel() (k kernel, err error) {
	if runtime.GOARCH != "amd64" {
		return k, fmt.Errorf("the kernel under test is built for amd64, and the guest runs this machine's files, which are %s", runtime.GOARCH)
	}
	if k.qemu, err = exec.LookPath("qemu-system-x86_64"); err != nil {
		return k, fmt.Errorf("%w (Debian's package: qemu-system-x86; scripts/test installs it)", err)
	}
	if k.busybox, err = exec.LookPath("busybox"); err != nil {
		return k, fmt.Errorf("%w (Debian's package: busybox-static; scripts/test installs it)", err)
	}
	if _, err := exec.LookPath("udevadm"); err != nil {
		return k, fmt.Errorf("%w (Debian's package: udev; scripts/test installs it)", err)
	}
	if k.root = os.Getenv("TELNETCPC_KERNEL"); k.root == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return k, err
		}
		k.root = filepath.Join(cache, "telnetcpc", "kernel")
	}
	found, _ := filepath.Glob(filepath.Join(k.root, "lib", "modules", "*", "modules.dep"))
	if len(found) == 0 {
		return k, fmt.Errorf("no kernel is unpacked in %s (scripts/test does it on Debian; TELNETCPC_KERNEL names another place)", k.root)
	}
	k.version = filepath.Base(filepath.Dir(found[len(found)-1]))
	return k, nil
}

// run boots the kernel, runs the command for each run of the boot, and returns the output.
func (k kernel) run(t *testing.T, dir string, b boot, command func(value string) []string) string {
	t.Helper()
	initramfs := filepath.Join(dir, "initramfs")
	if err := k.pack(initramfs, b.runs, command); err != nil {
		t.Fatal(err)
	}
	said, console := filepath.Join(dir, "said"), filepath.Join(dir, "console")
	ctx := t.Context()
	if deadline, ok := t.Deadline(); ok {
		early, cancel := context.WithDeadline(ctx, deadline.Add(-qemuEarlier))
		defer cancel()
		ctx = early
	}
	// The command line's last word is for this test; -1 reboots at once after a panic, and -no-reboot makes that the end.
	args := append([]string{"-accel", "tcg", "-cpu", "max", "-m", memory}, b.machine...)
	cmd := exec.CommandContext(ctx, k.qemu, append(args, "-nodefaults", "-display", "none", "-no-reboot",
		"-kernel", filepath.Join(k.root, "boot", "vmlinuz-"+k.version), "-initrd", initramfs,
		"-append", "console=ttyS0 panic=-1 "+insideWord,
		"-virtfs", "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap",
		"-serial", "file:"+console,
		"-chardev", "socket,id=uart,path="+filepath.Join(dir, "uart")+",server=on,wait=off", "-serial", "chardev:uart",
		"-serial", "file:"+said)...)
	var complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &complaints, &complaints
	stop := loopPlug(ctx, filepath.Join(dir, "uart"))
	err := cmd.Run()
	stop()
	if err != nil {
		t.Errorf("qemu: %v\n%s", err, complaints.String())
	}
	out, _ := os.ReadFile(said)
	text := strings.ReplaceAll(string(out), "\r\n", "\n")
	if got := endLine.FindAllString(text, -1); strings.Join(got, ",") != strings.TrimPrefix(strings.Repeat(",ended 0", len(b.runs)), ",") {
		t.Errorf("the checks inside did not end well: %q", got)
	}
	log, _ := os.ReadFile(console)
	if faults.Match(log) {
		t.Errorf("the kernel has found a fault")
	}
	if t.Failed() {
		t.Errorf("the kernel said:\n%s\nthe checks said:\n%s", tail(string(log), 4000), tail(text, 20_000))
	}
	return text
}

// loopPlug is the device at the guest's UART: it sends back what it receives, until the returned function is called.
func loopPlug(ctx context.Context, socket string) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	all.Go(func() {
		var conn net.Conn
		for conn == nil {
			conn, _ = net.Dial("unix", socket)
			select {
			case <-ctx.Done():
				return
			case <-time.After(10 * time.Millisecond): // until qemu has made it
			}
		}
		defer conn.Close()
		defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
		_, _ = io.Copy(conn, conn)
	})
	return func() {
		cancel()
		all.Wait()
	}
}

// faults are what a kernel logs when something in it went wrong.
var faults = regexp.MustCompile(`(?m)BUG:|WARNING:|Oops|Call Trace|Kernel panic|hung task`)

func tail(s string, most int) string {
	if len(s) > most {
		return "..." + s[len(s)-most:]
	}
	return s
}

var (
	endLine    = regexp.MustCompile(`(?m)^ended \d+$`)
	resultLine = regexp.MustCompile(`^ *--- (PASS|FAIL|SKIP): TestKernelTTY/(\S+) \((.*)\)$`)
	aboutLine  = regexp.MustCompile(`^=== (?:RUN|CONT|NAME|PAUSE) +(\S+)$`)
)

// retell makes a subtest of each check inside, with its output.
func retell(t *testing.T, out string) {
	said := map[string]string{}
	about := ""
	type result struct{ name, verdict, took string }
	var results []result
	for line := range strings.Lines(out) {
		text := strings.TrimSuffix(line, "\n")
		if m := aboutLine.FindStringSubmatch(text); m != nil {
			about = strings.TrimPrefix(m[1], "TestKernelTTY/")
		} else if m := resultLine.FindStringSubmatch(text); m != nil {
			results = append(results, result{m[2], m[1], m[3]})
		} else {
			said[about] += line
		}
	}
	if len(results) == 0 {
		t.Errorf("no check ran inside")
	}
	for _, r := range results {
		t.Run(r.name, func(t *testing.T) {
			text := strings.TrimRight(said[r.name], "\n")
			switch r.verdict {
			case "FAIL":
				t.Errorf("inside, after %s:\n%s", r.took, text)
			case "SKIP":
				t.Skipf("inside: %s", text)
			default:
				t.Logf("inside: %s\n%s", r.took, text)
			}
		})
	}
}

package winetest

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"telnetcpc/bridge/testenv"
	"telnetcpc/bridge/uart/uarttest"
)

const (
	// bootPatience is how long a fresh prefix may take.
	bootPatience = 4 * time.Minute
	// lingers is how long, in seconds, Wine stays after its last program: the drivers live in it.
	lingers = "300"
)

// wine is a Wine of this test's own: its files, and the programs to run in it.
type wine struct {
	loader, server string
	compiler       string
	base           string // a directory for all of it
	dir            string // WINEPREFIX

	janitor *exec.Cmd
	alive   io.Closer // while it is open the janitor waits

	running *exec.Cmd       // Wine's server
	ended   chan struct{}   // closed when it has, and was to
	ending  atomic.Bool     // it is to
	said    uarttest.Output // by it
}

// theWine is made once, by the first test that needs it, and ended by TestMain.
var theWine = sync.OnceValues(makeWine)

// made is theWine where it was made at all.
var made *wine

func TestMain(m *testing.M) {
	flag.Parse()
	if _, err := findWine(); err == nil && !testing.Short() && os.Getenv(variableChild) == "" {
		os.Exit(runAgain())
	}
	code := m.Run()
	if made != nil {
		if err := made.end(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
	}
	os.Exit(code)
}

const (
	// variableChild is set for the process that runs the tests.
	variableChild = "TELNETCPC_WINETEST_CHILD"
	// serverDied is that process's exit status when Wine's server has ended by itself.
	serverDied = 3
)

// runAgain runs the tests in a process of their own, and once more where Wine's server has died under them: Debian's
// crashes about once in twenty whole runs, and then nothing of ours has been tested. It shows what the last run said.
func runAgain() int {
	for last := false; ; last = true {
		out, err := os.CreateTemp("", "telnetcpc-winetest")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		_ = os.Remove(out.Name())
		cmd := exec.Command(os.Args[0], os.Args[1:]...)
		cmd.Env = append(os.Environ(), variableChild+"=1")
		cmd.Stdout, cmd.Stderr = out, out
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // go test ends this one when time is up
		runtime.LockOSThread()                                             // the signal is for the end of the thread
		err = cmd.Run()
		code := cmd.ProcessState.ExitCode()
		if code == serverDied && !last {
			fmt.Println("Wine's server has died: the tests run again")
			_ = out.Close()
			continue
		}
		if _, serr := out.Seek(0, io.SeekStart); serr == nil {
			_, _ = io.Copy(os.Stdout, out)
		}
		if err != nil && code <= 0 {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return code
	}
}

// needWine returns the prefix with the driver in it, or skips and says what is missing.
func needWine(t *testing.T) *wine {
	t.Helper()
	if testing.Short() {
		t.Skip("left out by -short: it makes a Wine")
	}
	if _, err := findWine(); err != nil {
		testenv.Skip(t, err)
	}
	w, err := theWine()
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// findWine looks for the programs.
func findWine() (*wine, error) {
	if runtime.GOARCH != "amd64" {
		return nil, fmt.Errorf("the tests in Wine need amd64, and this is %s", runtime.GOARCH)
	}
	w := new(wine)
	var err error
	// Debian has no wine64 on the path; its wine is a script that looks for a 32-bit one first.
	if w.loader, err = find("wine64", "/usr/lib/wine/wine64"); err != nil {
		return nil, fmt.Errorf("%w (Debian's packages: wine wine64; scripts/test installs them)", err)
	}
	if w.server, err = find("wineserver", "/usr/lib/wine/wineserver"); err != nil {
		return nil, fmt.Errorf("%w (Debian's packages: wine wine64; scripts/test installs them)", err)
	}
	if w.compiler, err = find("x86_64-w64-mingw32-gcc"); err != nil {
		return nil, fmt.Errorf("%w (Debian's package: gcc-mingw-w64-x86-64-win32; scripts/test installs it)", err)
	}
	return w, nil
}

// find returns the first of the programs that is there.
func find(names ...string) (path string, err error) {
	for _, name := range names {
		if path, err = exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", err
}

// makeWine makes a prefix and puts into it what a Go program of today needs, and the driver.
func makeWine() (*wine, error) {
	w, err := findWine()
	if err != nil {
		return nil, err
	}
	if w.base, err = os.MkdirTemp("", "telnetcpc-wine"); err != nil {
		return nil, err
	}
	w.dir = filepath.Join(w.base, "prefix")
	if err := os.Mkdir(w.dir, 0o700); err != nil { // Wine's server leaves a directory there
		return nil, err
	}
	if err := w.watch(); err != nil {
		return nil, err
	}
	made = w
	ctx, cancel := context.WithTimeout(context.Background(), bootPatience)
	defer cancel()
	for _, step := range []func(context.Context) error{w.boot, w.compile, w.warmUp, w.writePairs, w.startDriver} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return w, nil
}

func (w *wine) boot(ctx context.Context) error {
	// Its output goes nowhere: what it starts would keep a pipe open.
	if err := w.quietly(ctx, w.loader, "wineboot.exe", "--init"); err != nil {
		return fmt.Errorf("wineboot: %w", err)
	}
	return w.quietly(ctx, w.server, "-w")
}

// compile builds the driver, and the one function that Go's runtime asks of a DLL which this Wine does not have.
func (w *wine) compile(ctx context.Context) error {
	system := filepath.Join(w.dir, "drive_c", "windows", "system32")
	for _, args := range [][]string{
		{"-o", filepath.Join(system, "bcryptprimitives.dll"), "-Os", "-s", "-shared", "-nostdlib", "-Wl,-e,DllMainCRTStartup",
			"testdata/bcryptprimitives.c", "-ladvapi32"},
		{"-o", filepath.Join(system, "drivers", "c0sim.sys"), "-isystem", "/usr/share/mingw-w64/include/ddk", "-O1", "-Wall", "-Werror",
			"-shared", "-nostdlib", "-Wl,--subsystem,native", "-Wl,-e,DriverEntry", "testdata/c0sim.c", "-lntoskrnl", "-lhal"},
	} {
		if out, err := exec.CommandContext(ctx, w.compiler, args...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", w.compiler, err, out)
		}
	}
	return nil
}

// warmUp starts the services and drivers that Wine's first program starts. They inherit its output: were it go test's,
// go test would wait for them.
func (w *wine) warmUp(ctx context.Context) error {
	// In the foreground, so that its end is noticed: what comes after it finds a Wine without the driver.
	w.running = exec.Command(w.server, "-f", "-p"+lingers)
	w.running.Env = w.env()
	w.running.Stdout, w.running.Stderr = &w.said, &w.said
	w.running.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is not for it: the janitor ends it
	if err := w.running.Start(); err != nil {
		return err
	}
	w.ended = make(chan struct{})
	go w.mind() // ends with the server
	return w.quietly(ctx, w.loader, "cmd.exe", "/c", "exit")
}

// quietly runs a program of Wine without any input or output.
func (w *wine) quietly(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = w.env()
	return cmd.Run()
}

// env is what Wine is told: no display, no complaints, no installers that want a window.
func (w *wine) env(more ...string) []string {
	env := append(os.Environ(), "WINEPREFIX="+w.dir, "TMPDIR="+w.base, "WINEDEBUG=-all", "DISPLAY=",
		"WINEDLLOVERRIDES=mscoree,mshtml=;winemenubuilder.exe=d")
	return append(env, more...)
}

// command is a Windows program, to be run with more in its environment than others.
func (w *wine) command(more []string, program string, args ...string) *exec.Cmd {
	cmd := exec.Command(w.loader, append([]string{program}, args...)...)
	cmd.Env = w.env(more...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // a test that panics leaves nothing behind
	return cmd
}

// run runs a Windows program to its end and returns what it said.
func (w *wine) run(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, w.loader, args...)
	cmd.Env = w.env()
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return string(out), err
}

// watch starts the janitor, which waits for the end of this process, whatever that is: a test that ran out of time
// would leave 700 MB and a Wine that nobody ends.
func (w *wine) watch() (err error) {
	w.janitor = exec.Command("sh", "-c", `cat; "$0" -k; "$0" -w; rm -rf "$1"`, w.server, w.base)
	w.janitor.Env = w.env()
	w.janitor.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is not for it
	if w.alive, err = w.janitor.StdinPipe(); err != nil {
		return err
	}
	return w.janitor.Start()
}

// mind waits for the end of Wine's server. Where nobody has asked for it, this process ends too: its programs would wait
// for a server for ever.
func (w *wine) mind() {
	err := w.running.Wait()
	if w.ending.Load() {
		close(w.ended)
		return
	}
	fmt.Fprintf(os.Stderr, "wineserver: %v\n%s\n", err, w.said.String())
	own := []byte("WINEPREFIX=" + w.dir)
	all, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, name := range all {
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		if env, err := os.ReadFile(name); err == nil && bytes.Contains(env, own) && pid != os.Getpid() && pid != w.janitor.Process.Pid {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	os.Exit(serverDied)
}

// end ends every program in this Wine and removes its files.
func (w *wine) end() error {
	w.ending.Store(true)
	err := errors.Join(w.alive.Close(), w.janitor.Wait())
	if w.ended != nil {
		<-w.ended // the janitor has asked it to end
	}
	if _, serr := os.Stat(w.base); serr == nil {
		err = errors.Join(err, fmt.Errorf("%s was not removed", w.base))
	}
	return err
}

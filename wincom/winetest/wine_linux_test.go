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
)

const (
	// bootPatience bounds the making of a fresh prefix.
	bootPatience = 4 * time.Minute
	// serverLinger is how many seconds Wine's server runs on after its last program: the drivers end with it.
	serverLinger = "300"
)

// wine is a Wine prefix for these tests, and its server.
type wine struct {
	loader, server string
	compiler       string
	base           string // the directory of all its files
	dir            string // WINEPREFIX

	janitor *exec.Cmd
	alive   io.Closer // the janitor's input: it cleans up once this is closed

	running *exec.Cmd      // Wine's server
	exited  chan struct{}  // closed once the server has exited after end
	ending  atomic.Bool    // set by end: the server's exit is expected
	output  testenv.Output // of the server
}

// theWine is made once, by the first test that needs it, and removed by TestMain.
var theWine = sync.OnceValues(makeWine)

// made is theWine if it was made; only TestMain uses it, after the tests.
var made *wine

func TestMain(m *testing.M) {
	flag.Parse()
	if _, err := findWine(); err == nil && !testing.Short() && os.Getenv(childVariable) == "" {
		os.Exit(runInChild())
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
	// childVariable is set for the process that runs the tests.
	childVariable = "TELNETCPC_WINETEST_CHILD"
	// serverDied is that process's exit status if Wine's server crashed.
	serverDied = 3
)

// runInChild runs the tests in a child process, and once more if Wine's server crashed: Debian's crashes about once in
// twenty full runs, and then nothing of ours has been tested. It prints the output of the last run.
func runInChild() int {
	for last := false; ; last = true {
		out, err := os.CreateTemp("", "telnetcpc-winetest")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		_ = os.Remove(out.Name())
		cmd := exec.Command(os.Args[0], os.Args[1:]...)
		cmd.Env = append(os.Environ(), childVariable+"=1")
		cmd.Stdout, cmd.Stderr = out, out
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // go test kills this process at its timeout
		runtime.LockOSThread()                                             // the signal is sent at the end of the thread
		err = cmd.Run()
		code := cmd.ProcessState.ExitCode()
		if code == serverDied && !last {
			fmt.Println("Wine's server crashed: running the tests again")
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

// needWine returns the prefix with the driver in it, or skips the test and names what is missing.
func needWine(t *testing.T) *wine {
	t.Helper()
	if testing.Short() {
		t.Skip("left out by -short: it makes a Wine prefix")
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

// findWine finds the programs.
func findWine() (*wine, error) {
	if runtime.GOARCH != "amd64" {
		return nil, fmt.Errorf("the tests in Wine need amd64, and this is %s", runtime.GOARCH)
	}
	w := new(wine)
	var err error
	// Debian has no wine64 on the path; its wine is a script that prefers a 32-bit one.
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

// find returns the path of the first of the programs that exists.
func find(names ...string) (path string, err error) {
	for _, name := range names {
		if path, err = exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", err
}

// makeWine makes a prefix with the driver and what a Go program needs.
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
	if err := w.startJanitor(); err != nil {
		return nil, err
	}
	made = w
	ctx, cancel := context.WithTimeout(context.Background(), bootPatience)
	defer cancel()
	for _, step := range []func(context.Context) error{w.boot, w.compile, w.startServer, w.writePairs, w.startDriver} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return w, nil
}

func (w *wine) boot(ctx context.Context) error {
	// Without output: programs that it starts would keep a pipe open.
	if err := w.quietly(ctx, w.loader, "wineboot.exe", "--init"); err != nil {
		return fmt.Errorf("wineboot: %w", err)
	}
	return w.quietly(ctx, w.server, "-w")
}

// compile builds the driver, and a DLL that this Wine lacks, with the one function that Go's runtime needs.
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

// startServer starts Wine's server, and a first program: with it Wine starts its services and drivers. They inherit its
// output; if that were go test's, go test would wait for them.
func (w *wine) startServer(ctx context.Context) error {
	// In the foreground, so that a crash is noticed: a new server would have no driver.
	w.running = exec.Command(w.server, "-f", "-p"+serverLinger)
	w.running.Env = w.env()
	w.running.Stdout, w.running.Stderr = &w.output, &w.output
	w.running.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // not for Ctrl-C: the janitor ends it
	if err := w.running.Start(); err != nil {
		return err
	}
	w.exited = make(chan struct{})
	go w.watchServer() // ends with the server
	return w.quietly(ctx, w.loader, "cmd.exe", "/c", "exit")
}

// quietly runs a program of Wine without input or output.
func (w *wine) quietly(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = w.env()
	return cmd.Run()
}

// env returns Wine's environment: no display, no debug output, no installers that open a window.
func (w *wine) env(more ...string) []string {
	env := append(os.Environ(), "WINEPREFIX="+w.dir, "TMPDIR="+w.base, "WINEDEBUG=-all", "DISPLAY=",
		"WINEDLLOVERRIDES=mscoree,mshtml=;winemenubuilder.exe=d")
	return append(env, more...)
}

// command returns a Windows program to run, with more added to its environment.
func (w *wine) command(more []string, program string, args ...string) *exec.Cmd {
	cmd := exec.Command(w.loader, append([]string{program}, args...)...)
	cmd.Env = w.env(more...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // so that a panic leaves no process
	return cmd
}

// run runs a Windows program to its end and returns its output.
func (w *wine) run(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, w.loader, args...)
	cmd.Env = w.env()
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return string(out), err
}

// startJanitor starts the janitor, which ends Wine and removes its files when this process ends in any way: a test that
// timed out would leave 700 MB and running processes.
func (w *wine) startJanitor() (err error) {
	w.janitor = exec.Command("sh", "-c", `cat; "$0" -k; "$0" -w; rm -rf "$1"`, w.server, w.base)
	w.janitor.Env = w.env()
	w.janitor.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // not for Ctrl-C
	if w.alive, err = w.janitor.StdinPipe(); err != nil {
		return err
	}
	return w.janitor.Start()
}

// watchServer waits for the end of Wine's server. Unless end has asked for it, it kills Wine's programs, which would wait
// for the server for ever, and exits with serverDied.
func (w *wine) watchServer() {
	err := w.running.Wait()
	if w.ending.Load() {
		close(w.exited)
		return
	}
	fmt.Fprintf(os.Stderr, "wineserver: %v\n%s\n", err, w.output.String())
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
	if w.exited != nil {
		<-w.exited // ended by the janitor
	}
	if _, serr := os.Stat(w.base); serr == nil {
		err = errors.Join(err, fmt.Errorf("%s was not removed", w.base))
	}
	return err
}

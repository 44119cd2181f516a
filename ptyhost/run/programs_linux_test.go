//go:build amd64 || arm64

package run_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"telnetcpc/bridge/testenv"
)

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(testenv.Patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v", what, testenv.Patience)
		}
	}
}

// serverLogs waits until an access server has logged all these texts: it notices a client's end, and writes its log, in
// its own time.
func serverLogs(t *testing.T, server *testenv.Output, texts ...string) {
	t.Helper()
	for _, text := range texts {
		eventually(t, "the access server logs "+text, func() bool { return strings.Contains(server.String(), text) })
	}
}

var listening = regexp.MustCompile(`msg=listening address=(\S+)`)

// startServer starts an access server with a simulated UART, and returns its address and its log.
func startServer(t *testing.T, simulate string) (address string, log *testenv.Output) {
	t.Helper()
	log = &testenv.Output{}
	cmd := exec.Command(telnetcpc, "serve", "-v", "--listen", "127.0.0.1:0", "--simulate", simulate)
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("the access server's log:\n%s", log)
		}
	})
	eventually(t, "the access server listens", func() bool {
		m := listening.FindStringSubmatch(log.String())
		if m != nil {
			address = m[1]
		}
		return m != nil
	})
	return address, log
}

// runTelnetcpc runs telnetcpc run as the user nobody, and returns its output, its program's, and its exit status.
func runTelnetcpc(t *testing.T, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	var out, errs testenv.Output
	cmd := unprivileged(exec.Command(telnetcpc, append([]string{"run"}, args...)...))
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &out, &errs, time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	over := time.AfterFunc(testenv.Patience, func() { _ = cmd.Process.Signal(syscall.SIGQUIT); _ = cmd.Process.Kill() })
	err := cmd.Wait()
	if !over.Stop() {
		t.Errorf("%v has not ended in %v: %s", cmd, testenv.Patience, errs.String())
	}
	if status = cmd.ProcessState.ExitCode(); status < 0 {
		t.Errorf("%v: %v", cmd, err)
	}
	if strings.Contains(errs.String(), "DATA RACE") {
		t.Errorf("data race: %s", errs.String())
	}
	return out.String(), errs.String(), status
}

// compile compiles a program into a directory that the user nobody can read.
func compile(t *testing.T, compiler string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(compiler); err != nil {
		skip(t, compiler+" is not here (scripts/test installs it on Debian)")
	}
	file := filepath.Join(scratchDir(t), "program")
	if out, err := exec.Command(compiler, append(args, "-o", file)...).CombinedOutput(); err != nil {
		skip(t, compiler+" "+strings.Join(args, " ")+": "+string(out))
	}
	return file
}

// TestC runs programs in C that use their port in every way: with glibc, with musl and without a dynamic loader, and
// with 32 bits.
func TestC(t *testing.T) {
	t.Parallel()
	for _, library := range []struct {
		name, compiler string
		args           []string
	}{
		{"glibc", "gcc", nil},
		// musl-gcc hides the system's headers, including the kernel's.
		{"musl", "musl-gcc", []string{"-static", "-idirafter", "/usr/include", "-idirafter", "/usr/include/" + multiarch()}},
		{"32 bits", "gcc", []string{"-m32"}},
	} {
		t.Run(library.name, func(t *testing.T) {
			if library.name == "32 bits" {
				need32Bits(t)
			}
			program := compile(t, library.compiler, append(library.args, "-Wall", "-Wextra", "-Werror", "-pthread", "testdata/port.c")...)
			for _, check := range []string{"settings", "exclusive", "threads", "signals", "storm", "orphan", "looks", "terminal", "carrier"} {
				t.Run(check, func(t *testing.T) {
					t.Parallel()
					address, _ := startServer(t, "loopback")
					out, errs, status := runTelnetcpc(t, "-v", "--as", "/dev/ttyS77", address, "--", program, "/dev/ttyS77", check)
					if status != 0 || !strings.HasSuffix(out, "ok\n") {
						t.Errorf("status %d: %s\n%s", status, out, errs)
					}
					if falls := strings.Count(errs, "up   settings RTS off\n"); check == "storm" && falls != 100 {
						t.Errorf("RTS fell %d times, want 100", falls)
					}
					if check == "orphan" && !strings.Contains(out, "the orphan: ok\n") {
						t.Errorf("no success from the orphan: %s\n%s", out, errs)
					}
					if check == "settings" && !strings.Contains(errs, "31250") {
						t.Errorf("the odd rate was not logged:\n%s", errs)
					}
				})
			}
		})
	}
}

// multiarch is Debian's name of this architecture.
func multiarch() string {
	if runtime.GOARCH == "arm64" {
		return "aarch64-linux-gnu"
	}
	return "x86_64-linux-gnu"
}

func TestGoWithoutC(t *testing.T) {
	t.Parallel()
	program := filepath.Join(scratchDir(t), "static")
	build := exec.Command("go", "build", "-o", program, "./testdata/static")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	address, _ := startServer(t, "loopback")
	out, errs, status := runTelnetcpc(t, "--as", "/dev/ttyAMA*", address, "--", program, "/dev/ttyAMA3")
	if status != 0 || out != "ok\n" {
		t.Errorf("status %d: %s\n%s", status, out, errs)
	}
}

// TestPicocom talks through picocom, whose own standard input is no terminal.
func TestPicocom(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("picocom"); err != nil {
		skip(t, "picocom is not here (scripts/test installs it on Debian)")
	}
	address, server := startServer(t, "loopback")
	out, errs, status := runTelnetcpc(t, address, "--", "sh", "-c",
		`printf hello | picocom -q -b 19200 -y e -d 7 -x 500 --omap "" "$TELNETCPC_PORT"`)
	if status != 0 || !strings.Contains(out, "hello") {
		t.Errorf("status %d: %q\n%s", status, out, errs)
	}
	serverLogs(t, server, `coding="19200 7E1"`)
}

// TestScript runs a script of several programs, each of which opens the port again.
func TestScript(t *testing.T) {
	t.Parallel()
	address, server := startServer(t, "reporter")
	out, errs, status := runTelnetcpc(t, "--port", filepath.Join(scratchDir(t), "ttyV0"), "--as", "/dev/modem", address, "--", "sh", "-ec", `
		exec 3<>/dev/modem
		stty -F /dev/modem 4800 cs6 parenb parodd cstopb
		stty -F "$TELNETCPC_PORT" | head -n 1
		test -c /dev/modem -a -w /dev/modem
		printf 'a\r\n' >&3
		head -n 1 <&3
		(echo b; exec >/dev/null) >&3
		ls -l /dev/modem | cut -c 1
		exit 7`)
	if status != 7 || !strings.Contains(out, "speed 4800 baud") || !strings.Contains(out, "4800 6O2") || !strings.HasSuffix(out, "\nc\n") {
		t.Errorf("status %d: %q\n%s\n%s", status, out, errs, server)
	}
}

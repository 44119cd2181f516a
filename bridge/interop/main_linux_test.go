package interop

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"telnetcpc/bridge/testenv"
)

// scratch is the directory of the binaries of this run.
var scratch string

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if testing.Short() {
		fmt.Println("interop: skipped by -short: real servers and applications run with scripts/test")
		_ = flag.Set("test.run", "^$")
		return m.Run()
	}
	// These tests wait more than they compute.
	if f := flag.Lookup("test.parallel"); f != nil && f.Value.String() < "8" && len(f.Value.String()) == 1 {
		_ = flag.Set("test.parallel", "8")
	}
	var err error
	if scratch, err = os.MkdirTemp("", "telnetcpc-interop"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(scratch) }()
	if _, err := binary(testenv.Race); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

var plainBinary = sync.OnceValues(func() (string, error) { return build("telnetcpc") })
var raceBinary = sync.OnceValues(func() (string, error) { return build("telnetcpc-race", "-race") })

// binary returns the path of telnetcpc, built once.
func binary(race bool) (string, error) {
	if race {
		return raceBinary()
	}
	return plainBinary()
}

func build(name string, flags ...string) (string, error) {
	file := filepath.Join(scratch, name)
	args := append(append([]string{"build"}, flags...), "-o", file, "telnetcpc/cmd/telnetcpc")
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return file, nil
}

// programs are the peers, with the command that prints the version, which also shows whether the program is installed.
var programs = map[string][]string{
	"ser2net":        {"ser2net", "-v"},
	"socat":          {"socat", "-V"},
	"picocom":        {"picocom", "--help"},
	"stty":           {"stty", "--version"},
	"gcc":            {"gcc", "--version"},
	"mbpoll":         {"mbpoll", "-V"},
	"minicom":        {"minicom", "--version"},
	"tio":            {"tio", "--version"},
	"gpsd":           {"gpsd", "-V"},
	"gpspipe":        {"gpspipe", "-V"},
	"openssl":        {"openssl", "version"},
	"ip":             {"ip", "-V"},
	"nft":            {"nft", "--version"},
	"sredird":        {"dpkg-query", "-W", "sredird"}, // it prints no version itself
	"gensiot":        {"gensiot", "--version"},
	"lrzsz":          {"rz", "--version"},
	"python3-serial": {"/usr/bin/python3", "-c", "import sys, serial.rfc2217; print('python', sys.version.split()[0], 'pyserial', serial.__version__)"},
}

var versions sync.Map // name -> version

// need skips the test unless these programs are installed, and logs their versions.
func need(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if v, ok := versions.Load(name); ok {
			t.Log("peer:", v)
			continue
		}
		version, err := ask(programs[name])
		if err != nil {
			why := fmt.Sprintf("%s is missing: %v (scripts/test installs it on Debian)", name, err)
			testenv.Skip(t, why)
		}
		version = name + ": " + version
		versions.Store(name, version)
		t.Log("peer:", version)
	}
}

// ask runs a program to print its version: the first line of its output with a digit. The exit status is ignored.
func ask(command []string) (string, error) {
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "PATH="+os.Getenv("PATH")+":/usr/sbin")
	out, err := cmd.CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if strings.ContainsAny(line, "0123456789") && !strings.Contains(line, "Error") {
			return strings.TrimSpace(line), nil
		}
	}
	if err == nil {
		err = errors.New("it prints no version")
	}
	return "", err
}

// lastOf returns the end of an output, for the message of a failure.
func lastOf(out *testenv.Output) string {
	s := out.String()
	const enough = 6000
	if len(s) > enough {
		return "...\n" + s[len(s)-enough:]
	}
	return s
}

// process is a program that the test has started; it has ended when the test ends.
type process struct {
	cmd  *exec.Cmd
	out  *testenv.Output
	done chan struct{} // closed when it has ended
	err  error         // of Wait; valid after done is closed
}

// start starts cmd. Its output is collected, unless the caller has set Stdout or Stderr.
func start(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{cmd: cmd, out: new(testenv.Output), done: make(chan struct{})}
	if cmd.Stdout == nil {
		cmd.Stdout = p.out
	}
	if cmd.Stderr == nil {
		cmd.Stderr = p.out
	}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL // so that no process remains if the test panics
	if err := cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", cmd.Path, err)
	}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("output of %s:\n%s", filepath.Base(cmd.Path), lastOf(p.out))
		}
	})
	return p
}

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

func (p *process) signal(t *testing.T, s os.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatalf("signal %v to %s: %v", s, p.cmd.Path, err)
	}
}

// kill kills the program, and its process group if it leads one.
func (p *process) kill() {
	if p.cmd.SysProcAttr.Setpgid {
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	}
	_ = p.cmd.Process.Kill()
	<-p.done
}

// wait waits for the end of a program that must end by itself with status 0.
func (p *process) wait(t *testing.T) {
	t.Helper()
	select {
	case <-p.done:
	case <-time.After(testenv.Patience):
		t.Fatalf("%s does not end", p.cmd)
	}
	if p.err != nil {
		t.Fatalf("%s: %v\n%s", p.cmd, p.err, lastOf(p.out))
	}
}

// eventually waits until cond is true.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(testenv.Patience); !cond(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", testenv.Patience, what)
		}
	}
}

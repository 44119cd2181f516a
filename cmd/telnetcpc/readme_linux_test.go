package main

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"

	"telnetcpc/bridge/testenv"
)

// Every command of README.md and of the manual pages in section 7 works. A command is a line of an example that begins with
// "$ " or, on Windows, "> "; what this test cannot run, another test runs, or the reason is here.

// example is a command as it is printed, with what it prints.
type example struct{ command, output string }

// proven records how a command is known to work: one of its three fields is set.
type proven struct {
	run    func(*reader, *testing.T, example) // here
	by     string                             // a test's file, and a text in it: "file: text"
	cannot string                             // the reason why no test runs it
}

var examples = map[string]map[string]proven{
	"README.md": {
		"go build -o telnetcpc ./cmd/telnetcpc": {run: (*reader).builds},
		"./telnetcpc demo":                      {run: (*reader).demonstrates},
		"./telnetcpc serve --listen :3696 --allow 10.0.0.0/24 /dev/ttyUSB0":            {run: (*reader).serves},
		"sudo ./telnetcpc attach /dev/ttyV0 10.0.0.5":                                  {run: attached("hello 4800 8N1")},
		"./telnetcpc attach ~/ttyV0 10.0.0.5":                                          {run: attached("hello 4800 8N1")},
		"sudo ./telnetcpc attach --line 7E1 /dev/ttyV0 10.0.0.5:4001":                  {run: attached("hello 4800 7E1")},
		"./telnetcpc probe 10.0.0.5":                                                   {run: (*reader).probes},
		"sudo ./telnetcpc probe":                                                       {by: "cmd/telnetcpc/testdata/script/serve_example.txtar: exec telnetcpc probe\n"},
		"./telnetcpc serve --simulate reporter &":                                      {run: (*reader).simulates},
		"./telnetcpc run --as /dev/ttyS0 localhost -- sh -c '\n" + readmeProgram + "'": {run: (*reader).runs},
		"man scripts/telnetcpc-servers.7":                                              {by: "cmd/telnetcpc/manual_test.go: telnetcpc-servers.7"}, // few containers have man; its formatters are there
		"source <(./telnetcpc completion bash)":                                        {by: "cmd/telnetcpc/testdata/script/completion_bash.txtar: source <(telnetcpc completion bash)"},
		"scripts/test quick":                                                           {cannot: "it runs this test"},
	},
	"scripts/telnetcpc-servers.7": {
		"telnetcpc probe HOST:PORT":                                                    {run: (*reader).probes},
		"sudo telnetcpc attach /dev/ttyV0 scale-pc":                                    {run: attached("hello 4800 8N1")},
		"telnetcpc serve --listen :3696 /dev/ttyUSB0":                                  {run: (*reader).serves},
		opensslExample("ser2net"):                                                      {run: (*reader).certifies},
		opensslExample("scale-pc"):                                                     {run: (*reader).certifies},
		"sudo telnetcpc attach --tls-ca ser2net.crt /dev/ttyV0 rfc2217+tls://scale-pc": {by: `bridge/interop/tls_linux_test.go: "--tls-ca"`},
		"telnetcpc serve --listen :3696 --tls-cert scale-pc.crt \\\n--tls-key scale-pc.key --tls-client-ca my-pc.crt /dev/ttyUSB0":   {by: "cmd/telnetcpc/testdata/script/serve_tls.txtar: --tls-cert scale-pc.crt --tls-key scale-pc.key --tls-client-ca my-pc.crt"},
		"sudo telnetcpc attach --tls-ca scale-pc.crt --tls-cert my-pc.crt \\\n--tls-key my-pc.key /dev/ttyV0 rfc2217+tls://scale-pc": {by: "cmd/telnetcpc/testdata/script/serve_tls.txtar: --tls-ca scale-pc.crt --tls-name scale-pc --tls-cert my-pc.crt --tls-key my-pc.key"},
	},
	"scripts/telnetcpc-windows.7": { // in Wine
		"telnetcpc pair add COM9":                      {by: `cmd/telnetcpc/pair_windows_test.go: "pair", "add", "com77"`},
		"telnetcpc attach COM9 10.0.0.5:4001":          {by: `wincom/winetest/ser2net_linux_test.go: "attach"`},
		"telnetcpc service install COM9 10.0.0.5:4001": {by: `wincom/winetest/service_linux_test.go: "install"`},
		"telnetcpc service status":                     {by: `wincom/winetest/service_linux_test.go: "status"`},
		"powershell -ExecutionPolicy Bypass -File install.ps1 -Port COM9 -Url 10.0.0.5:4001": {cannot: "Wine has no PowerShell"},
	},
}

const readmeProgram = `exec 3<>/dev/ttyS0; stty 4800 cs7 parenb <&3; echo hello >&3; head -n 1 <&3`

func opensslExample(name string) string {
	return "openssl req -x509 -newkey rsa:2048 -nodes -days 3650 \\\n-subj /CN=scale-pc -addext subjectAltName=DNS:scale-pc \\\n" +
		"-keyout " + name + ".key -out " + name + ".crt"
}

// examplesOf returns the commands of a page: README.md has them indented, a manual page in .Dl and .Bd.
func examplesOf(t *testing.T, page string) (all []example) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", page))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	markdown := filepath.Ext(page) == ".md"
	for i := 0; i < len(lines); i++ {
		line := strings.TrimPrefix(lines[i], ".Dl ")
		if markdown {
			if line = strings.TrimPrefix(lines[i], "    "); line == lines[i] {
				continue
			}
		}
		command, ok := strings.CutPrefix(line, "$ ")
		if windows, is := strings.CutPrefix(line, "> "); is && !markdown {
			command, ok = windows, true
		}
		if !ok {
			continue
		}
		for i+1 < len(lines) && (strings.HasSuffix(command, `\`) || strings.HasSuffix(command, `\e`) || strings.Count(command, "'")%2 == 1) {
			i++
			command += "\n" + strings.TrimLeft(lines[i], " ")
		}
		e := example{command: strings.ReplaceAll(command, `\e`, `\`)}
		for i+1 < len(lines) && markdown && strings.HasPrefix(lines[i+1], "    ") && !strings.HasPrefix(lines[i+1], "    $ ") {
			i++
			e.output += strings.TrimPrefix(lines[i], "    ") + "\n"
		}
		all = append(all, e)
	}
	return all
}

func TestExamples(t *testing.T) {
	for page, known := range examples {
		t.Run(filepath.Base(page), func(t *testing.T) {
			r := &reader{dir: t.TempDir()}
			unseen := maps.Clone(known)
			for _, e := range examplesOf(t, page) {
				p, ok := known[e.command]
				delete(unseen, e.command)
				switch file, text, _ := strings.Cut(p.by, ": "); {
				case !ok:
					t.Errorf("no test runs %q: add it to the table", e.command)
				case p.run != nil:
					t.Run(e.command, func(t *testing.T) { p.run(r, t, e) })
				case p.by != "":
					if source, err := os.ReadFile(filepath.Join("..", "..", file)); err != nil || !bytes.Contains(source, []byte(text)) {
						t.Errorf("%s does not run %q any more: %q is not in it (%v)", file, e.command, text, err)
					}
				}
			}
			for _, command := range slices.Sorted(maps.Keys(unseen)) {
				t.Errorf("the table has %q, %s has not", command, page)
			}
		})
	}
}

// reader follows the instructions of the pages, with this machine as the far one too.
type reader struct{ dir string }

// start starts a command with the words of the page replaced, given in pairs, and returns what it prints.
func (r *reader) start(t *testing.T, command string, replaced ...string) (*exec.Cmd, *testenv.Output) {
	t.Helper()
	command = strings.NewReplacer(append([]string{"sudo ", "", "./telnetcpc", "telnetcpc"}, replaced...)...).Replace(command)
	cmd := exec.Command("sh", "-c", "exec "+command)
	cmd.Dir = r.dir
	cmd.Env = append(os.Environ(), "HOME="+r.dir, "GORACE=atexit_sleep_ms=0")
	out := new(testenv.Output)
	cmd.Stdout, cmd.Stderr = out, out
	heedHangup()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
	return cmd, out
}

// interrupt is Ctrl-C, which ends a command in order.
func (r *reader) interrupt(t *testing.T, cmd *exec.Cmd, out *testenv.Output) {
	t.Helper()
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v: %v\n%s", cmd, err, out)
	}
}

// reporter is the access server of the pages: it answers each line with the line and its line coding.
func (r *reader) reporter(t *testing.T) (address string, end func()) {
	t.Helper()
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	address = fmt.Sprintf("127.0.0.1:%d", port)
	cmd, out := r.start(t, "telnetcpc serve --simulate reporter --listen "+address)
	out.Await(t, "msg=listening")
	return address, func() { r.interrupt(t, cmd, out) }
}

func (r *reader) builds(t *testing.T, e example) {
	cmd := exec.Command("sh", "-c", strings.Replace(e.command, "-o telnetcpc", "-o "+filepath.Join(r.dir, "telnetcpc"), 1))
	cmd.Dir = filepath.Join("..", "..")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func (r *reader) demonstrates(t *testing.T, e example) {
	cmd, out := r.start(t, e.command)
	out.Await(t, "Ctrl-C ends this")
	r.interrupt(t, cmd, out)
}

// serves serves the slave of a pty: no other serial port is there for sure.
func (r *reader) serves(t *testing.T, e example) {
	master, device, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	defer device.Close()
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	cmd, out := r.start(t, e.command, ":3696", fmt.Sprintf("127.0.0.1:%d", port), "/dev/ttyUSB0", device.Name())
	out.Await(t, "msg=listening")
	r.interrupt(t, cmd, out)
}

func (r *reader) simulates(t *testing.T, e example) {
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	cmd, out := r.start(t, strings.TrimSuffix(e.command, " &")+fmt.Sprintf(" --listen 127.0.0.1:%d", port))
	out.Await(t, "msg=listening")
	r.interrupt(t, cmd, out)
}

// attached runs an attach and uses its port, at 4800 8N1 as far as the port itself says. want is what the far end
// replies.
func attached(want string) func(*reader, *testing.T, example) {
	return func(r *reader, t *testing.T, e example) {
		address, end := r.reporter(t)
		defer end()
		path := filepath.Join(r.dir, "ttyV0")
		cmd, out := r.start(t, e.command, "/dev/ttyV0", path, "10.0.0.5:4001", address, "10.0.0.5", address, "scale-pc", address)
		out.Await(t, `msg="port ready"`)
		use := exec.Command("sh", "-c", `exec 3<>"$1"; stty 4800 cs8 -parenb raw -echo <&3; echo hello >&3; head -n 1 <&3`, "sh", path)
		got, err := use.Output()
		if err != nil || strings.TrimSpace(string(got)) != want {
			t.Errorf("got %q and %v, want %s\n%s", got, err, want, out)
		}
		r.interrupt(t, cmd, out)
		if _, err := os.Lstat(path); err == nil {
			t.Errorf("%s is still there", path)
		}
	}
}

func (r *reader) probes(t *testing.T, e example) {
	address, end := r.reporter(t)
	defer end()
	cmd, out := r.start(t, e.command, "10.0.0.5", address, "HOST:PORT", address)
	if err := cmd.Wait(); err != nil || !strings.Contains(out.String(), "An RFC 2217 access server: telnetcpc, by its signature.") {
		t.Errorf("%v\n%s", err, out)
	}
}

// runs has the page's own output.
func (r *reader) runs(t *testing.T, e example) {
	requireRun(t)
	address, end := r.reporter(t)
	defer end()
	cmd, out := r.start(t, e.command, "localhost", address)
	timeout := time.AfterFunc(testenv.Patience, func() { _ = cmd.Process.Signal(syscall.SIGTERM) })
	defer timeout.Stop()
	if err := cmd.Wait(); err != nil || out.String() != e.output || e.output == "" {
		t.Errorf("%v: got\n%s\nwant\n%s", err, out, e.output)
	}
}

func (r *reader) certifies(t *testing.T, e example) {
	if _, err := exec.LookPath("openssl"); err != nil {
		testenv.Skip(t, "no openssl (Debian's package: openssl)")
	}
	cmd, out := r.start(t, e.command)
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

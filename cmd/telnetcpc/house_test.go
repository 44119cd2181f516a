package main_test

import (
	"bytes"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The house rules, as tests: contributors need no linter, and each rule states its reason.

const module = "telnetcpc"

// importRules list which packages of this module a package may import, and no others; each package has a row. Its own
// row shows what it depends on; the other rows show which packages may import it. Packages that exist for tests have
// none (isTest): they may import everything, and only tests may import them.
var importRules = []struct {
	pkg     string
	imports []string
	why     string
}{
	// the ground
	{"bridge/uart", nil, "it is the ground: every package may import it, so it imports none"},
	// tools, which know neither port nor protocol
	{"bridge/ordered", []string{"bridge/uart"}, "a queue does not know who fills it"},
	{"bridge/termios", []string{"bridge/uart"}, "it translates, whichever tty it is"},
	{"bridge/tcp", nil, "it knows TCP, and nothing of what runs over it"},
	{"bridge/tlsconn", []string{"bridge/tcp"}, "it is TLS over TCP, whatever runs through it"},
	{"bridge/escape", nil, "it escapes text, whatever the text is"},
	{"bridge/asynclog", nil, "it carries lines, whatever is in them"},
	{"bridge/loglimit", nil, "it counts lines, whatever is in them"},
	{"bridge/listening", nil, "it reads the system's tables and knows no protocol"},
	{"bridge/makers", nil, "it is a table of facts and serves no one in particular"},
	// the protocol and the way to a session
	{"bridge/telnet", nil, "it is an NVT and knows no serial port"},
	{"bridge/rfc2217", []string{"bridge/makers", "bridge/ordered", "bridge/telnet", "bridge/uart"}, "it gets a connection and does not know who dialed it"},
	{"bridge/remote", []string{"bridge/makers", "bridge/rfc2217", "bridge/tcp", "bridge/tlsconn", "bridge/uart"}, "it knows sockets, and no port"},
	{"bridge/probe", []string{"bridge/listening", "bridge/makers", "bridge/remote", "bridge/rfc2217", "bridge/tcp", "bridge/telnet", "bridge/uart"}, "it talks to a listener and knows neither port nor bridge"},
	// the far end
	{"bridge/accessserver", []string{"bridge/loglimit", "bridge/ordered", "bridge/rfc2217", "bridge/tcp", "bridge/telnet", "bridge/tlsconn", "bridge/uart"}, "it is the far end, and needs no port and no bridge; a Device does not need it"},
	{"bridge/accessserver/serialport", []string{"bridge/ordered", "bridge/termios", "bridge/uart"}, "it is a serial port and knows no server"},
	{"bridge/accessserver/simulate", []string{"bridge/ordered", "bridge/uart"}, "it simulates a UART and knows no server"},
	// the bridge, and what makes and watches it
	{"bridge", []string{"bridge/uart"}, "it is handed a Port, a remote that dials, and log handlers: it knows no host, no remote, no protocol and no agent"},
	{"bridge/capture", []string{"bridge", "bridge/asynclog", "bridge/escape"}, "it watches a bridge and must not know what made it"},
	{"bridge/agent", []string{"bridge", "bridge/loglimit", "bridge/remote", "bridge/uart"}, "it makes bridges; only cmd knows which hosts there are"},
	{"bridge/demo", []string{"bridge/accessserver", "bridge/accessserver/simulate", "bridge/agent", "bridge/asynclog", "bridge/escape", "bridge/remote", "bridge/tcp", "bridge/termios", "bridge/uart"}, "it shows both ends in one process, and is handed the host"},
	// the port hosts
	{"bridge/usb/usbip", nil, "it plays USB devices and knows no serial port"},
	{"bridge/usb/ftdi", []string{"bridge/ordered", "bridge/uart", "bridge/usb/usbip"}, "a chip does not know what it is plugged into"},
	{"ptyhost", []string{"bridge/termios", "bridge/uart", "ptyhost/aside", "ptyhost/devpath", "ptyhost/terminal"}, "a port must not know that there is a network"},
	{"ptyhost/terminal", []string{"bridge/termios", "ptyhost/devpath"}, "it is a pty; what a port makes of it is for its hosts"},
	{"ptyhost/kerneltty", []string{"bridge/uart", "bridge/usb/ftdi", "ptyhost/aside", "ptyhost/devpath", "ptyhost/logind"}, "a port must not know that there is a network"},
	{"ptyhost/run", []string{"bridge/ordered", "bridge/termios", "bridge/uart", "ptyhost/aside", "ptyhost/devpath", "ptyhost/terminal"}, "a port must not know that there is a network"},
	{"ptyhost/devpath", nil, "it is a path and its rights, whatever makes the port"},
	{"ptyhost/logind", nil, "it reports the machine's sleep and knows no port"},
	{"ptyhost/aside", nil, "it carries lines of a log, whatever is in them"},
	{"wincom", []string{"bridge/uart"}, "a port must not know that there is a network"},
	{"wincom/winservice", []string{"bridge/asynclog", "bridge/escape", "wincom"}, "it is handed what a service does"},
	// the program
	{"cmd/telnetcpc", []string{"bridge", "bridge/accessserver", "bridge/accessserver/serialport", "bridge/accessserver/simulate", "bridge/agent", "bridge/asynclog", "bridge/capture", "bridge/demo", "bridge/escape", "bridge/listening", "bridge/probe", "bridge/remote", "bridge/tcp", "bridge/uart", "ptyhost", "ptyhost/aside", "ptyhost/devpath", "ptyhost/kerneltty", "ptyhost/logind", "ptyhost/run", "wincom", "wincom/winservice"}, "a command parses, wires, runs and prints; the protocol is not its business"},
	{"scripts/recording", nil, "it runs the program and knows none of its packages"},
	{"scripts/summary", nil, "it reads the output of go test"},
}

// fileRules are the files that may have an import.
var fileRules = []struct {
	imported string // a package path, and all packages below it
	allowed  func(file string) bool
	why      string
}{
	{"unsafe", hasOSSuffix, "unsafe code belongs to one operating system, in a file named after it"},
	{"golang.org/x/sys", hasOSSuffix, "a system call belongs in a file named after its system"},
	{"os/exec", runsPrograms, "the agent runs no program, except: lsof lists listeners if no system call does, modprobe loads modules, stty prepares a tty that its maker must not open, setupc makes com0com's pairs; tests are free"},
	{"crypto/tls", tlsFiles, "TLS is handled only where a connection is made, so that no other package can weaken it"},
	{"go.bug.st/serial", serialFiles, "one file knows the library, so that it can be replaced; a test of the pair is an application on it"},
	{"gopkg.in/natefinch/lumberjack.v2", under("wincom/winservice"), "only a service writes a log file of its own; any other command writes its log to standard error"},
	{"github.com/godbus/dbus", under("ptyhost/logind"), "one package speaks D-Bus"},
	{"github.com/urfave/cli", under("cmd"), "the command line is cmd's business"},
	{module + "/cmd", never, "commands are not imported"},
}

var osSuffix = regexp.MustCompile(`_(linux|windows|darwin|freebsd|unix|bsd|other)(_[a-z0-9]+)?(_test)?\.go$`)

func hasOSSuffix(file string) bool { return osSuffix.MatchString(file) }

// isTest is true for tests and for packages that exist for tests, as net/http/httptest does.
func isTest(file string) bool {
	dir := path.Dir(file)
	return strings.HasSuffix(file, "_test.go") || strings.HasSuffix(dir, "test") || dir == "bridge/testenv" || within(dir, "bridge/interop")
}

// runsPrograms is true for files that must run a program, and for tests.
func runsPrograms(file string) bool {
	return isTest(file) || path.Dir(file) == "scripts/recording" || file == "bridge/listening/listening_unix.go" ||
		file == "ptyhost/kerneltty/system_linux.go" || file == "ptyhost/kerneltty/ready_linux.go" ||
		file == "wincom/pair_windows.go" || file == "ptyhost/run/start_linux.go"
}

// serialFiles is true for the file that opens a device, and for the tests' application on Windows.
func serialFiles(file string) bool {
	return file == "bridge/accessserver/serialport/library.go" || path.Dir(file) == "wincom/winetest"
}

// tlsFiles is true for packages that make TLS connections, and for a test whose peer is a TLS server.
func tlsFiles(file string) bool {
	return under("bridge/remote", "bridge/accessserver", "bridge/tlsconn")(file) || file == "bridge/probe/verdict_test.go"
}

func under(dirs ...string) func(string) bool {
	return func(file string) bool {
		return slices.ContainsFunc(dirs, func(dir string) bool { return within(path.Dir(file), dir) })
	}
}

func never(string) bool { return false }

// within reports whether a package is dir or is below it.
func within(pkg, dir string) bool { return pkg == dir || strings.HasPrefix(pkg, dir+"/") }

// source is one Go file, for whatever system: the rules hold for files that do not build here too.
type source struct {
	name    string // from the module's root, with slashes
	text    []byte
	syntax  *ast.File
	set     *token.FileSet
	imports []string
}

func (s source) pkg() string { return path.Dir(s.name) }

func sources(t *testing.T) []source {
	t.Helper()
	root := filepath.Join("..", "..")
	var all []source
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "testdata" || d.Name() != ".." && strings.HasPrefix(d.Name(), ".")) {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(name, ".go") {
			return nil
		}
		s, err := parse(root, name)
		if err == nil {
			all = append(all, s)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) == 0 {
		t.Fatal("no Go file found: this is not the module's root")
	}
	return all
}

func parse(root, name string) (source, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return source{}, err
	}
	rel, err := filepath.Rel(root, name)
	if err != nil {
		return source{}, err
	}
	s := source{name: filepath.ToSlash(rel), text: text, set: token.NewFileSet()}
	s.syntax, err = parser.ParseFile(s.set, s.name, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return source{}, err
	}
	for _, spec := range s.syntax.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return source{}, err
		}
		s.imports = append(s.imports, imported)
	}
	return s, nil
}

func TestImports(t *testing.T) {
	files := sources(t)
	rows := map[string]bool{}
	for _, rule := range importRules {
		rows[rule.pkg] = true
		t.Run(rule.pkg, func(t *testing.T) {
			found, unused := false, slices.Clone(rule.imports)
			for _, f := range files {
				if f.pkg() != rule.pkg || isTest(f.name) {
					continue
				}
				found = true
				for _, imported := range f.imports {
					ours, ok := strings.CutPrefix(imported, module+"/")
					if ok && !slices.Contains(rule.imports, ours) {
						t.Errorf("%s imports %s: %s", f.name, imported, rule.why)
					}
					unused = slices.DeleteFunc(unused, func(pkg string) bool { return pkg == ours })
				}
			}
			if !found {
				t.Errorf("there is no package %s: remove the rule", rule.pkg)
			}
			if len(unused) > 0 {
				t.Errorf("%s does not import %v: remove it from the rule", rule.pkg, unused)
			}
		})
	}
	for _, f := range files {
		if !isTest(f.name) && !rows[f.pkg()] {
			t.Errorf("%s: package %s has no row in importRules", f.name, f.pkg())
		}
		for _, imported := range f.imports {
			if ours, ok := strings.CutPrefix(imported, module+"/"); ok && isTest(ours+"/x.go") && !isTest(f.name) {
				t.Errorf("%s imports %s, which exists for tests", f.name, imported)
			}
		}
	}
}

func TestImportsOfFiles(t *testing.T) {
	for _, f := range sources(t) {
		for _, imported := range f.imports {
			for _, rule := range fileRules {
				if within(imported, rule.imported) && !rule.allowed(f.name) {
					t.Errorf("%s imports %s: %s", f.name, imported, rule.why)
				}
			}
		}
	}
}

// thickFiles are the files of cmd that may start goroutines or make system calls, because signals are for the process, and
// main is the process.
var thickFiles = map[string]string{
	"signals.go":      "a goroutine waits for the signals that end the process",
	"signals_unix.go": "a goroutine waits for SIGQUIT; the process ends itself by a signal",
}

// A command parses, wires, runs and prints: goroutines and system calls belong in a package that can be tested without a
// command line.
func TestCommandsAreThin(t *testing.T) {
	unused := maps.Clone(thickFiles)
	for _, f := range sources(t) {
		if f.pkg() != "cmd/telnetcpc" || isTest(f.name) {
			continue
		}
		var found []string
		for _, imported := range f.imports {
			if within(imported, "golang.org/x/sys") || imported == "unsafe" {
				found = append(found, "imports "+imported)
			}
		}
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				found = append(found, "starts a goroutine")
			case *ast.CallExpr: // sync.WaitGroup's and errgroup's; syscall's functions, not its constants
				if s, ok := n.Fun.(*ast.SelectorExpr); ok {
					if of, ok := s.X.(*ast.Ident); s.Sel.Name == "Go" {
						found = append(found, "starts a goroutine")
					} else if ok && of.Name == "syscall" && s.Sel.Name != "Signal" {
						found = append(found, "calls syscall."+s.Sel.Name)
					}
				}
			}
			return true
		})
		name := path.Base(f.name)
		if thickFiles[name] != "" && len(found) > 0 {
			delete(unused, name)
			continue
		}
		for _, what := range found {
			t.Errorf("%s %s: cmd only parses, wires, runs and prints", f.name, what)
		}
	}
	for name := range unused {
		t.Errorf("%s is an exception that nothing needs", name)
	}
}

// The go command knows the suffixes _linux and _windows; unix, bsd and other are ours, and without a build
// line such a file builds everywhere. (The go command knows unix in a build line only.)
func TestOSSuffixNeedsBuildLine(t *testing.T) {
	ours := regexp.MustCompile(`_(unix|bsd|other)(_test)?\.go$`)
	for _, f := range sources(t) {
		if ours.MatchString(f.name) && !bytes.Contains(f.text, []byte("\n//go:build ")) && !bytes.HasPrefix(f.text, []byte("//go:build ")) {
			t.Errorf("%s has no //go:build line: its name alone means nothing to the go command", f.name)
		}
	}
}

func TestPackageComments(t *testing.T) {
	commented := map[string]bool{}
	for _, f := range sources(t) {
		counts := f.syntax.Doc != nil && !strings.HasSuffix(f.name, "_test.go")
		commented[f.pkg()] = commented[f.pkg()] || counts
	}
	for pkg, ok := range commented {
		if !ok {
			t.Errorf("package %s has no package comment: write what it is for and what it must not know", pkg)
		}
	}
}

// The package comment of bridge is the map of the repository for new contributors: what it names must exist. A name
// without a slash is a file of bridge or of bridge/interop.
func TestMapOfTheHouse(t *testing.T) {
	const home = "bridge/doc.go"
	root := filepath.Join("..", "..")
	doc, err := parse(root, filepath.Join(root, filepath.FromSlash(home)))
	if err != nil {
		t.Fatal(err)
	}
	comment := doc.syntax.Doc.Text()
	exists := func(name string) bool {
		_, err := os.Stat(filepath.Join(root, filepath.FromSlash(name)))
		return err == nil
	}
	paths := regexp.MustCompile(`\b(?:bridge|ptyhost|wincom|cmd|scripts)/[a-z0-9_./]*[a-z0-9]`).FindAllString(comment, -1)
	if len(paths) < 20 {
		t.Errorf("%s names %d paths: the test does not find them any more", home, len(paths))
	}
	for _, name := range paths {
		if !exists(name) {
			t.Errorf("%s names %s, which does not exist", home, name)
		}
	}
	for _, name := range regexp.MustCompile(`(?:^|[\s(])([a-z0-9_]+\.go)\b`).FindAllStringSubmatch(comment, -1) {
		if !exists("bridge/"+name[1]) && !exists("bridge/interop/"+name[1]) {
			t.Errorf("%s names %s, which is no file of bridge", home, name[1])
		}
	}
}

func TestFormat(t *testing.T) {
	for _, f := range sources(t) {
		want, err := format.Source(f.text)
		if err != nil {
			t.Error(err)
			continue
		}
		if !bytes.Equal(f.text, want) {
			t.Errorf("%s is not formatted: gofmt -w it", f.name)
		}
	}
}

// A long file or function is a question to its author, not an error.
func TestSizes(t *testing.T) {
	const maxFile, maxFunc = 400, 60
	for _, f := range sources(t) {
		if n := bytes.Count(f.text, []byte("\n")); n > maxFile {
			t.Logf("%s has %d lines: does it have more than one subject?", f.name, n)
		}
		for _, d := range f.syntax.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if n := f.set.Position(fn.End()).Line - f.set.Position(fn.Pos()).Line + 1; n > maxFunc {
				t.Logf("%s: %s has %d lines: which part of it has a name of its own?", f.name, fn.Name.Name, n)
			}
		}
	}
}

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"telnetcpc/bridge/remote"
)

// The manual page, the help texts and the program describe the same commands and flags: none may have more than the others.

var manual = filepath.Join("..", "..", "scripts", "telnetcpc.1")

func readManual(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(manual)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// flagsOf returns the names of a command's flags as they are written on the command line, without help.
func flagsOf(c *cli.Command) []string {
	var all []string
	for _, f := range c.Flags {
		for _, name := range f.Names() {
			all = append(all, dashed(name))
		}
	}
	slices.Sort(all)
	return all
}

func dashed(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

// manualOf returns the part of the manual page on one command.
func manualOf(t *testing.T, page, name string) string {
	t.Helper()
	_, part, found := strings.Cut(page, "\n.Ss "+name+"\n")
	if !found {
		t.Fatalf("%s has no subsection %q", manual, name)
	}
	if end := manualHeading.FindStringIndex(part); end != nil {
		part = part[:end[0]]
	}
	return part
}

var (
	manualHeading = regexp.MustCompile(`\n\.S[hs] `)

	manualFlag = regexp.MustCompile(`\bFl (-?[a-z][a-z-]*)`)            // .Fl -json is --json
	helpFlag   = regexp.MustCompile(`(?:^|[\s,(])(-{1,2}[a-z][a-z-]*)`) // not the dash in "probe - report what"
)

// named returns the flags that a text names, each once.
func named(text string, flag *regexp.Regexp, before string) []string {
	var all []string
	for _, m := range flag.FindAllStringSubmatch(text, -1) {
		all = append(all, before+m[1])
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func TestManualAndHelpNameAllFlags(t *testing.T) {
	page := readManual(t)
	for _, c := range newApp().Commands {
		t.Run(c.Name, func(t *testing.T) {
			want := flagsOf(c)
			if got := named(c.CustomHelpTemplate, helpFlag, ""); !slices.Equal(got, want) {
				t.Errorf("help.go names %v, the program knows %v", got, want)
			}
			if got := named(manualOf(t, page, c.Name), manualFlag, "-"); !slices.Equal(got, want) {
				t.Errorf("%s names %v, the program knows %v", manual, got, want)
			}
		})
	}
}

// Help and manual have each quirk by its name, with the sentence of rfc2217's table.
func TestManualAndHelpNameAllQuirks(t *testing.T) {
	fold := func(s string) string { return strings.Join(strings.Fields(s), " ") }
	help := fold(helpAttach)
	page := strings.ReplaceAll(fold(manualOf(t, readManual(t), "attach")), ".Cm ", "")
	for _, q := range remote.AllQuirks() {
		if want := q.Name + ": " + q.Help; !strings.Contains(help, want) {
			t.Errorf("help.go lacks %q", want)
		}
		if want := q.Name + " : " + q.Help + "."; !strings.Contains(page, want) {
			t.Errorf("%s lacks %q", manual, want)
		}
	}
}

func TestManualAndHelpNameAllCommands(t *testing.T) {
	page := readManual(t)
	var want []string
	for _, c := range newApp().Commands {
		want = append(want, c.Name)
		if !strings.Contains(page, "\n.Nm\n.Cm "+c.Name+"\n") {
			t.Errorf("%s: the synopsis lacks %s", manual, c.Name)
		}
	}
	for where, got := range map[string][]string{
		"help.go": words(helpApp, regexp.MustCompile(`(?m)^    telnetcpc ([a-z]+)[ \[]`)),
		manual:    words(page, regexp.MustCompile(`(?m)^\.Ss (.+)$`)),
	} {
		for _, name := range want {
			if !slices.Contains(got, name) {
				t.Errorf("%s lacks %s", where, name)
			}
		}
		for _, name := range got {
			if !slices.Contains(want, name) {
				t.Errorf("%s has %s, which is no command", where, name)
			}
		}
	}
}

func words(text string, pattern *regexp.Regexp) []string {
	var all []string
	for _, m := range pattern.FindAllStringSubmatch(text, -1) {
		all = append(all, m[1])
	}
	return all
}

// manualPages are all pages; the first one has the commands.
var manualPages = []string{manual, filepath.Join("..", "..", "scripts", "telnetcpc-servers.7"), filepath.Join("..", "..", "scripts", "telnetcpc-windows.7")}

// The pages are right for both programs that systems show manual pages with.
func TestManualFormats(t *testing.T) {
	for _, row := range [][]string{
		{"groff", "-mdoc", "-Tutf8", "-ww", "-z"},
		{"mandoc", "-Tlint", "-Wwarning"},
	} {
		t.Run(row[0], func(t *testing.T) {
			if _, err := exec.LookPath(row[0]); err != nil {
				t.Skipf("no %s here (Debian's packages: groff-base, mandoc)", row[0])
			}
			for _, page := range manualPages {
				out, err := exec.Command(row[0], append(row[1:], page)...).CombinedOutput()
				if err != nil || len(out) > 0 {
					t.Errorf("%v %s: %v\n%s", row, page, err, out)
				}
			}
		})
	}
}

// README links every page, and every page is in the table above.
func TestManualPagesAreAll(t *testing.T) {
	found, err := filepath.Glob(filepath.Join("..", "..", "scripts", "*.[1-9]"))
	if err != nil {
		t.Fatal(err)
	}
	want := slices.Sorted(slices.Values(manualPages))
	if slices.Sort(found); !slices.Equal(found, want) {
		t.Errorf("scripts has %v, the test knows %v", found, want)
	}
	readme, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range manualPages {
		if !strings.Contains(string(readme), "(scripts/"+filepath.Base(page)+")") {
			t.Errorf("README.md does not link %s", page)
		}
	}
}

// Command recording makes the picture in README.md: it runs telnetcpc demo and writes its output as an SVG whose lines
// appear one after the other. The addresses and terminal numbers of the run are replaced with fixed ones, so that two
// runs give the same picture; a test compares the picture with a current run.
//
//	go run ./scripts/recording >scripts/demo.svg
package main

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
)

func main() {
	out, err := record()
	if err == nil {
		_, err = os.Stdout.Write(draw("telnetcpc demo --once", out))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "recording:", err)
		os.Exit(1)
	}
}

// record runs the demonstration and returns what it printed.
func record() (string, error) {
	cmd := exec.Command("go", "run", "telnetcpc/cmd/telnetcpc", "demo", "--once")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%v: %w", cmd, err)
	}
	return steady(string(out)), nil
}

// changing are the parts of the output that differ from run to run, with their replacements.
var changing = []struct {
	what *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`127\.0\.0\.1:\d+`), "127.0.0.1:39397"},
	{regexp.MustCompile(`/dev/(pts/|ttys)\d+`), "/dev/pts/8"},
}

func steady(text string) string {
	for _, c := range changing {
		text = c.what.ReplaceAllString(text, c.with)
	}
	return text
}

const (
	charWidth  = 8.4 // of the 14 px font below
	lineHeight = 20
	margin     = 16
	pause      = 0.35 // seconds between two lines
)

// draw returns the SVG of a command and its output. A viewer without animation shows all lines at once.
func draw(command, output string) []byte {
	lines := append([]string{"$ " + command}, strings.Split(strings.TrimRight(output, "\n"), "\n")...)
	longest := 0
	for _, l := range lines {
		longest = max(longest, len(l))
	}
	width, height := int(float64(longest)*charWidth)+2*margin, len(lines)*lineHeight+2*margin
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" role="img" aria-label="%s">
<style>
rect { fill: #0d1117 }
text { fill: #e6edf3; font: 14px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; white-space: pre }
.command { fill: #7ee787 }
@media (prefers-reduced-motion: no-preference) {
  text { animation: appear 0.2s both }
  @keyframes appear { from { opacity: 0 } }
}
</style>
<rect width="100%%" height="100%%" rx="8"/>
`, width, height, width, height, escaped(command))
	at := 0.0
	for i, l := range lines {
		class := ""
		if i == 0 {
			class = ` class="command"`
		}
		if l == "" {
			continue
		}
		at += pause
		fmt.Fprintf(&b, `<text%s xml:space="preserve" x="%d" y="%d" style="animation-delay: %.2fs">%s</text>`+"\n",
			class, margin, margin+(i+1)*lineHeight-6, at, escaped(l))
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

func escaped(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a strings.Builder does not fail
	return b.String()
}

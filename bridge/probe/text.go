package probe

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// textWidth is the column at which WriteText wraps: a terminal's default width.
const textWidth = 80

// WriteText writes the report for people: aligned, wrapped at 80 columns, ASCII only.
func (r *Report) WriteText(w io.Writer) error {
	var b strings.Builder
	r.verdict(&b, "")
	if r.AccessServer {
		r.textFacts(&b)
		r.textSettings(&b)
	}
	r.textOptions(&b)
	r.textDeviations(&b)
	_, err := io.WriteString(w, b.String())
	return err
}

// WriteVerdict writes only what the listener is: WriteText's first paragraph, each line indented.
func (r *Report) WriteVerdict(w io.Writer, indent string) error {
	var b strings.Builder
	r.verdict(&b, indent)
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *Report) verdict(b *strings.Builder, indent string) {
	paragraph(b, indent, capital(r.LooksLike)+".")
}

func (r *Report) textFacts(b *strings.Builder) {
	b.WriteByte('\n')
	row := func(name, value string) { fmt.Fprintf(b, "    %-23s %s\n", name, value) }
	signature := "not sent"
	if r.Signature != "" {
		signature = `"` + r.Signature + `"`
	}
	row("signature", signature)
	row("modem state", r.Modem.String())
	row("timing mark", r.RTT.mark())
	row("answers", r.RTT.answers())
}

func (r RTT) mark() string {
	if r.TimingMark == nil {
		return "not measured"
	}
	return fmt.Sprintf("answered after %.2f ms", *r.TimingMark)
}

func (r RTT) answers() string {
	if r.AnswerMin == nil || r.AnswerMedian == nil || r.AnswerMax == nil {
		return "not measured"
	}
	return fmt.Sprintf("after %.2f to %.2f ms, typically %.2f ms", *r.AnswerMin, *r.AnswerMax, *r.AnswerMedian)
}

// String names the lines: "CTS on, DSR off, RI off, DCD on".
func (m Modem) String() string {
	if !m.Reported {
		return "not reported"
	}
	word := func(on bool) string {
		if on {
			return "on"
		}
		return "off"
	}
	return fmt.Sprintf("CTS %s, DSR %s, RI %s, DCD %s", word(m.CTS), word(m.DSR), word(m.RI), word(m.DCD))
}

func (r *Report) textSettings(b *strings.Builder) {
	if !slices.ContainsFunc(queries[:], func(q query) bool { return q.of(&r.Settings).Asked }) {
		b.WriteString("\nIts settings were not queried.\n")
		return
	}
	b.WriteString("\nCurrent settings:\n")
	for _, q := range queries {
		s := *q.of(&r.Settings)
		value := s.Answer
		switch {
		case !s.Asked:
			value = "not queried"
		case s.Bytes == "":
			value = "not answered"
		case s.Answer == "":
			value = "unknown (answered " + s.Bytes + ")"
		}
		fmt.Fprintf(b, "    %-23s %s\n", q.name, value)
	}
}

func (r *Report) textOptions(b *strings.Builder) {
	if !slices.ContainsFunc(r.Options, func(o Option) bool { return len(o.Server) > 0 }) {
		return
	}
	fmt.Fprintf(b, "\nTelnet options:             %-16s%-16s%s\n", "server sent", "probe sent", "enabled on")
	for _, o := range r.Options {
		enabled := "neither side"
		switch {
		case o.ServerOn && o.ProbeOn:
			enabled = "both sides"
		case o.ServerOn:
			enabled = "server side"
		case o.ProbeOn:
			enabled = "probe side"
		}
		fmt.Fprintf(b, "    %-23s %-15s %-15s %s\n", o.Name, strings.Join(o.Server, " "), strings.Join(o.Probe, " "), enabled)
	}
}

func (r *Report) textDeviations(b *strings.Builder) {
	if len(r.Deviations) == 0 {
		if r.AccessServer {
			b.WriteString("\nNothing unusual found.\n")
		}
		return
	}
	b.WriteString("\nWhat is unusual, and what it means:\n")
	for _, d := range r.Deviations {
		fmt.Fprintf(b, "    %s\n", d.Name)
		paragraph(b, "        seen   ", d.Seen)
		paragraph(b, "        means  ", d.Means)
	}
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// paragraph writes a text, wrapped. Its first line begins with first; the others are indented by the same width.
func paragraph(b *strings.Builder, first, text string) {
	line := first
	for i, word := range strings.Fields(text) {
		switch {
		case i == 0:
		case len(line)+1+len(word) > textWidth:
			b.WriteString(line + "\n")
			line = strings.Repeat(" ", len(first))
		default:
			line += " "
		}
		line += word
	}
	b.WriteString(line + "\n")
}

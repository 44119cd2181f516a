package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"telnetcpc/bridge/escape"
	"telnetcpc/bridge/uart"
)

func doctorCommand() *cli.Command {
	flags := []cli.Flag{&cli.BoolFlag{Name: "json"}}
	return command("doctor", helpDoctor, flags, func(c *cli.Context) error {
		if _, err := arguments(c); err != nil {
			return err
		}
		return doctor(c.App.Writer, hosts(), c.Bool("json"), extraHosts()...)
	})
}

// diagnosis is the result of doctor. The JSON names are an interface for programs and do not change.
type diagnosis struct {
	Auto  string        `json:"auto"`  // the host that --host auto chooses; empty if none works
	Hosts []hostFinding `json:"hosts"` // the hosts of --host auto, the one with the highest fidelity first; then run
}

// hostFinding is the result for one port host.
type hostFinding struct {
	Name    string   `json:"name"`
	Works   bool     `json:"works"`
	Reason  string   `json:"reason"`  // why it does not work, with the remedy
	Carries []string `json:"carries"` // in addition to bytes, open and close
	Missing []string `json:"missing"`
	Notes   []string `json:"notes"` // what else matters on this machine
}

// doctor prints which of the hosts work here, what each carries, and how to make a better one work; extra are hosts
// that --host auto never chooses. The error means that no host of list works.
func doctor(w io.Writer, list []uart.Host, asJSON bool, extra ...uart.Host) error {
	d := diagnose(list)
	d.Hosts = append(d.Hosts, diagnose(extra).Hosts...)
	var err error
	if asJSON {
		err = printJSON(w, d)
	} else {
		_, err = io.WriteString(w, d.text())
	}
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(d.Hosts, func(f hostFinding) bool { return f.Works }) {
		return statusError{errors.New("doctor: no port can be made on this machine"), exitFailed}
	}
	return nil
}

func diagnose(list []uart.Host) diagnosis {
	d := diagnosis{Hosts: []hostFinding{}}
	for _, h := range list {
		f := hostFinding{Name: h.Name(), Carries: names(h.Fidelity()), Missing: names(h.Fidelity().Missing()), Notes: []string{}}
		if err := h.Check(); err != nil {
			f.Reason = err.Error()
		} else {
			f.Works = true
			if d.Auto == "" {
				d.Auto = h.Name()
			}
			if n, ok := h.(interface{ Notes() []string }); ok {
				f.Notes = append(f.Notes, n.Notes()...)
			}
		}
		d.Hosts = append(d.Hosts, f)
	}
	return d
}

func names(f uart.Fidelity) []string {
	list := []string{}
	for _, feature := range f.Features() {
		list = append(list, feature.String())
	}
	return list
}

// text returns the diagnosis for people.
func (d diagnosis) text() string {
	var b strings.Builder
	for _, f := range d.Hosts {
		if f.Works {
			fmt.Fprintf(&b, "%s: works\n", f.Name)
		} else {
			fmt.Fprintf(&b, "%s\n", escape.Line(f.Reason))
		}
		row := func(name, text string) { fmt.Fprintf(&b, "    %-8s %s\n", name, text) }
		row("carries", strings.Join(append([]string{"bytes", "open and close"}, f.Carries...), ", "))
		if len(f.Missing) > 0 {
			row("lacks", strings.Join(f.Missing, ", "))
		}
		for _, n := range f.Notes {
			row("note", escape.Line(n))
		}
	}
	if d.Auto != "" {
		fmt.Fprintf(&b, "--host auto takes %s\n", d.Auto)
	}
	return b.String()
}

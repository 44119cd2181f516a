package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/urfave/cli/v2"

	"telnetcpc/bridge/escape"
	"telnetcpc/wincom"
)

func pairCommand() *cli.Command {
	withPort := func(name string, do func(*cli.Context, string) error) *cli.Command {
		return subcommand("pair", name, helpPair, nil, func(c *cli.Context) error {
			if err := pairsHere(); err != nil {
				return err
			}
			args, err := arguments(c, "PORT")
			if err != nil {
				return err
			}
			port, err := wincom.ParsePortName(args[0])
			if err != nil {
				return usagef("pair %s: %w", name, err)
			}
			return do(c, port)
		})
	}
	list := subcommand("pair", "list", helpPair, nil, func(c *cli.Context) error {
		if err := pairsHere(); err != nil {
			return err
		}
		if _, err := arguments(c); err != nil {
			return err
		}
		return pairList(c.App.Writer)
	})
	return family("pair", helpPair, list, withPort("add", pairAdd), withPort("remove", pairRemove))
}

// printPairs prints one line per pair: its ends with their parameters, and whether telnetcpc made it.
func printPairs(w io.Writer, pairs []wincom.Pair) error {
	var b strings.Builder
	for _, p := range pairs {
		fmt.Fprintf(&b, "%s <-> %s", endText(p.A), endText(p.B))
		if !p.Ours() {
			b.WriteString(", not made by telnetcpc")
		}
		if p.Absent {
			b.WriteString(", not present now (telnetcpc doctor has the reason)")
		}
		b.WriteString("\n")
	}
	if len(pairs) == 0 {
		b.WriteString("no pair (telnetcpc pair add COM9)\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// endText returns one end as text: COM9 (CNCA0: dcd=rout1, ri=!rout2).
func endText(e wincom.End) string {
	about := strings.Join(e.Parameters, ", ")
	switch {
	case e.Name != e.ID && about != "":
		about = e.ID + ": " + about
	case e.Name != e.ID:
		about = e.ID
	case about == "":
		return escape.Line(e.Name)
	}
	return escape.Line(e.Name + " (" + about + ")")
}

// printRemoved prints which pair was removed.
func printRemoved(w io.Writer, p wincom.Pair) error {
	note := ""
	if !p.Ours() {
		note = " (it was not made by telnetcpc)"
	}
	_, err := fmt.Fprintf(w, "removed %s <-> %s%s\n", endText(p.A), endText(p.B), note)
	return err
}

// pairError returns the error of pair add or pair remove with the remedy; nil for nil.
func pairError(what, port string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, wincom.ErrNotInstalled):
		return fmt.Errorf("pair %s: %w (its setup.exe is at https://sourceforge.net/projects/com0com)", what, err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("pair %s: administrator rights are missing (in a command prompt opened by \"Run as administrator\": telnetcpc pair %s %s)",
			what, what, port)
	case errors.Is(err, wincom.ErrNoPair):
		return fmt.Errorf("pair %s: %w (telnetcpc pair list)", what, err)
	}
	return fmt.Errorf("pair %s: %w", what, err)
}

package main

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"log/slog"

	"github.com/urfave/cli/v2"

	"telnetcpc/bridge/agent"
	"telnetcpc/wincom"
)

func pairsHere() error { return nil }

func pairList(w io.Writer) error {
	pairs, err := wincom.Pairs()
	if err != nil {
		return err
	}
	return printPairs(w, pairs)
}

func pairAdd(c *cli.Context, port string) error {
	p, err := addPair(c.Context, port)
	if err != nil {
		return err
	}
	return printPairs(c.App.Writer, []wincom.Pair{p})
}

func pairRemove(c *cli.Context, port string) error {
	var p wincom.Pair
	err := withSetupc("remove", port, func(s wincom.Setupc) (err error) {
		p, err = s.Remove(c.Context, port)
		return err
	})
	if err != nil {
		return err
	}
	return printRemoved(c.App.Writer, p)
}

func addPair(ctx context.Context, port string) (p wincom.Pair, err error) {
	err = withSetupc("add", port, func(s wincom.Setupc) (err error) {
		p, err = s.Add(ctx, port)
		return err
	})
	return p, err
}

// withSetupc calls do with setupc.exe if this process has administrator rights.
func withSetupc(what, port string, do func(wincom.Setupc) error) error {
	s, err := wincom.FindSetupc()
	switch {
	case err != nil:
	case !wincom.Elevated():
		err = fs.ErrPermission // setupc.exe would ask for the rights in a window
	default:
		err = do(s)
	}
	return pairError(what, port, err)
}

// preparePort makes, for attach, the pair of a port that does not exist yet. If this process lacks administrator
// rights, the error names the command that makes the pair.
func preparePort(ctx context.Context, p agent.Port, log *slog.Logger) error {
	if p.Host.Name() != "com0com" {
		return nil
	}
	port, err := wincom.ParsePortName(p.Path)
	if err != nil {
		return nil // the host will report the error
	}
	there, err := wincom.PortExists(port)
	if err != nil || there {
		return err
	}
	pair, err := addPair(ctx, port)
	if err != nil {
		return statusError{fmt.Errorf("port %s does not exist yet: %w", port, err), exitPort}
	}
	log.Info("com0com pair made; it stays until: telnetcpc pair remove "+port, "port", port, "pair", pair.Number)
	return nil
}

// portPath returns the name under which programs open the port that a user has given: COM9, also for \\.\com9.
func portPath(path string) string {
	if name, err := wincom.ParsePortName(path); err == nil {
		return name
	}
	return path
}

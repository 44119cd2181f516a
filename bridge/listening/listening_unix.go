//go:build unix && !linux

package listening

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
)

// lister is a program that lists listeners.
type lister struct {
	name  string
	args  func(port string) []string
	parse func(text string, port uint16) []Listener
}

// listers are the programs, best first. macOS has lsof, FreeBSD has sockstat.
var listers = []lister{
	{"lsof", func(port string) []string {
		return []string{"-nP", "+c", "0", "-iTCP:" + port, "-sTCP:LISTEN", "-FpcuLftn"}
	}, parseLsof},
	{"sockstat", func(port string) []string {
		return []string{"-4", "-6", "-l", "-P", "tcp", "-p", port}
	}, parseSockstat},
}

// list runs the first of the programs that is installed. These systems have no stable system call for it.
func list(ctx context.Context, port uint16) ([]Listener, error) {
	for _, program := range listers {
		path, err := exec.LookPath(program.name)
		if err != nil {
			continue
		}
		text, err := output(exec.CommandContext(ctx, path, program.args(strconv.Itoa(int(port)))...))
		if err != nil {
			return nil, fmt.Errorf("list TCP listeners: %s: %w", program.name, err)
		}
		seen := program.parse(text, port)
		return append(seen, unseen(ctx, port, seen)...), ctx.Err()
	}
	return nil, errors.New("list TCP listeners: neither lsof nor sockstat is on the path (install lsof)")
}

// output runs a program and returns its standard output. An exit status above 0 with nothing on standard error is no
// error: the program has found no listener.
func output(c *exec.Cmd) (string, error) {
	var out, complaint bytes.Buffer
	c.Stdout, c.Stderr = &out, &complaint
	err := c.Run()
	var status *exec.ExitError
	switch {
	case err == nil, errors.As(err, &status) && status.Exited() && (out.Len() > 0 || complaint.Len() == 0):
		return out.String(), nil
	case complaint.Len() > 0:
		return "", fmt.Errorf("%w: %s", err, strings.TrimSpace(complaint.String()))
	}
	return "", err
}

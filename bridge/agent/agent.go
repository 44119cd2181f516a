// Package agent turns the configuration of a port into its bridge: every command builds its bridges in the same way. It
// knows configurations, remotes and bridges. It must not know the syntax of a command line, nor which port hosts exist:
// it is handed the host. The commands in cmd/telnetcpc, and the demo, call it.
package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"runtime"
	"time"

	"telnetcpc/bridge"
	"telnetcpc/bridge/loglimit"
	"telnetcpc/bridge/remote"
	"telnetcpc/bridge/uart"
)

// Port is the configuration of one port.
type Port struct {
	Path   string
	Remote remote.URL
	Host   uart.Host

	Owner, Group string
	Mode         fs.FileMode // 0: the host's default

	Policy     bridge.Policy
	AckTimeout time.Duration // 0: the protocol's default
	Quirks     remote.Quirks
	TLS        remote.TLS
}

// Name is the port's short name in log and status: the last element of its path.
func (p Port) Name() string { return filepath.Base(p.Path) }

// peerLines limits how many lines a minute the remote may cause in the log, and separately how many that report losses. An
// outage and its end take four or five.
const peerLines = 6

// NewBridge returns the bridge of a port; the caller runs it. The error names the setting that is wrong.
func NewBridge(p Port, log *slog.Logger) (*bridge.Bridge, error) {
	if p.Path == "" {
		return nil, errors.New("port: no path (want one like /dev/ttyV0, on Windows COM9)")
	}
	path := p.Path
	if runtime.GOOS != "windows" { // a Windows port has a name, COM9, and no path
		var err error
		if path, err = filepath.Abs(p.Path); err != nil {
			return nil, fmt.Errorf("port %q: %w", p.Path, err)
		}
	}
	log = log.With("port", p.Name())
	peer, losses := loglimit.New(log.Handler(), peerLines), loglimit.New(log.Handler(), peerLines)
	r, err := remote.New(p.Remote, remote.Options{
		AckTimeout: p.AckTimeout, Quirks: p.Quirks, TLS: p.TLS, Log: slog.New(peer),
	})
	if err != nil {
		return nil, err
	}
	if p.TLS.Insecure {
		log.Warn("every certificate of the remote is accepted: insecure, anyone on the path can read and change bytes", "remote", r.String(),
			"hint", "--tls-ca FILE names who signs the right one, in place of --tls-insecure")
	}
	return bridge.New(bridge.Config{
		Name: p.Name(), Path: path, Remote: r, Policy: p.Policy, Log: log, Peer: peer, Losses: losses,
		Open: func(ctx context.Context, config uart.PortConfig) (uart.Port, error) {
			config.Path, config.Owner, config.Group, config.Mode = path, p.Owner, p.Group, p.Mode
			return p.Host.Open(ctx, config)
		},
	}), nil
}

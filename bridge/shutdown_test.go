package bridge_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"

	"telnetcpc/bridge"
	"telnetcpc/bridge/uart"
	"telnetcpc/bridge/uart/uarttest"
)

// lasting is a port whose path exists before and after it, like an end of a com0com pair.
type lasting struct{ *uarttest.Port }

func (lasting) Retire() error { return uart.NotCarried("lasting", "take it away") }

// A port whose path cannot be removed ends like any other, without a warning.
func TestEndOfAPortThatStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		b := bridge.New(bridge.Config{
			Name: "COM9", Path: "COM9", Remote: newFar(), Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn})),
			Open: func(_ context.Context, c uart.PortConfig) (uart.Port, error) {
				return lasting{uarttest.NewPort(c)}, nil
			},
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- b.Run(ctx) }()
		synctest.Wait()
		cancel()
		if err := <-ended; err != nil || log.String() != "" {
			t.Errorf("got %v, and the log\n%s", err, log.String())
		}
	})
}

package ptyhost_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"telnetcpc/bridge/uart/uarttest"
	"telnetcpc/ptyhost"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(agentPath); path != "" {
		os.Exit(agentProcess(path))
	}
	goleak.VerifyTestMain(m)
}

func TestHost(t *testing.T) { uarttest.TestHost(t, ptyhost.New(), uarttest.TTY{}) }

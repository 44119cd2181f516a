package ptyhost_test

import (
	"testing"

	"go.uber.org/goleak"

	"telnetcpc/bridge/uart/uarttest"
	"telnetcpc/ptyhost"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestHost(t *testing.T) { uarttest.TestHost(t, ptyhost.New(), uarttest.TTY{}) }

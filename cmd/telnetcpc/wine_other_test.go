//go:build !windows

package main

import (
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func testsOf(m *testing.M) testscript.TestingM { return m }

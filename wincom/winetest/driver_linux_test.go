package winetest

import (
	"context"
	"fmt"
	"strings"
)

// The pair that the tests use: the application's end and ours.
const (
	applicationEnd = "COM9"
	agentEnd       = "CNCB0"
)

// parameters is where com0com keeps what its ports are told.
const parameters = `HKLM\SYSTEM\CurrentControlSet\Services\com0com\Parameters`

// pins is what setupc writes for the pair that `telnetcpc pair add COM9` makes, as the driver reads it:
//
//	PortName=COM9,dcd=rout1,ri=!rout2 PortName=CNCB0,dcd=ropen,HiddenMode=yes
var pins = []struct{ port, name, kind, value string }{
	{"CNCA0", "PortName", "REG_SZ", applicationEnd},
	{"CNCA0", "dcd", "REG_DWORD", "0x4"},       // ROUT1
	{"CNCA0", "ri", "REG_DWORD", "0x80000008"}, // not ROUT2
	{"CNCB0", "PortName", "REG_SZ", agentEnd},
	{"CNCB0", "dcd", "REG_DWORD", "0x80"}, // ROPEN
	{"CNCB0", "HiddenMode", "REG_DWORD", "0xffffffff"},
}

// startDriver writes the pins and starts the stand-in under com0com's name.
func (w *wine) startDriver(ctx context.Context) error {
	for _, p := range pins {
		if _, err := w.run(ctx, "reg.exe", "add", parameters+`\`+p.port, "/v", p.name, "/t", p.kind, "/d", p.value, "/f"); err != nil {
			return err
		}
	}
	if _, err := w.run(ctx, "sc.exe", "create", "com0com", "type=", "kernel", "binPath=", `C:\windows\system32\drivers\c0sim.sys`); err != nil {
		return err
	}
	out, err := w.run(ctx, "sc.exe", "start", "com0com")
	if err == nil && !strings.Contains(out, "RUNNING") {
		err = fmt.Errorf("the driver does not run:\n%s", out)
	}
	return err
}

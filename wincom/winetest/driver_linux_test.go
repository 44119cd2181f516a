package winetest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// The application's ends of the pairs. Each test has its own, so that they can run in parallel. The agent's ends are CNCB0,
// CNCB2 and so on; numbers 1 and 5 are free for tests that make and find pairs.
const (
	pairOfUnits   = "COM9"
	pairOfVerify  = "COM10"
	pairOfSer2net = "COM11"
	pairOfInject  = "COM12"
	pairOfService = "COM13"
)

var pairs = map[string]int{pairOfUnits: 0, pairOfVerify: 2, pairOfSer2net: 3, pairOfInject: 4, pairOfService: 6}

// agentEnd returns the agent's end of a pair.
func agentEnd(pair string) string { return fmt.Sprintf("CNCB%d", pairs[pair]) }

// parameters is the key of com0com's port parameters.
const parameters = `HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Services\com0com\Parameters`

// writePairs writes into the registry what setupc writes for pairs that `telnetcpc pair add` makes:
//
//	PortName=COM9,dcd=rout1,ri=!rout2 PortName=CNCB0,dcd=ropen,HiddenMode=yes
func (w *wine) writePairs(ctx context.Context) error {
	var file strings.Builder
	file.WriteString("REGEDIT4\r\n")
	for name, i := range pairs {
		fmt.Fprintf(&file, "\r\n[%s\\CNCA%d]\r\n\"PortName\"=\"%s\"\r\n", parameters, i, name)
		fmt.Fprintf(&file, "\"dcd\"=dword:%08x\r\n\"ri\"=dword:%08x\r\n", pinROUT1, uint32(pinNot|pinROUT2))
		fmt.Fprintf(&file, "\r\n[%s\\CNCB%d]\r\n\"PortName\"=\"%s\"\r\n", parameters, i, agentEnd(name))
		fmt.Fprintf(&file, "\"dcd\"=dword:%08x\r\n\"HiddenMode\"=dword:ffffffff\r\n", pinROPEN)
	}
	path := filepath.Join(w.dir, "drive_c", "pairs.reg")
	if err := os.WriteFile(path, []byte(file.String()), 0o600); err != nil {
		return err
	}
	_, err := w.run(ctx, "regedit.exe", "/S", `C:\pairs.reg`)
	return err
}

// Pins, as in the driver's parameters.
const (
	pinROUT1 = 4
	pinROUT2 = 8
	pinROPEN = 0x80
	pinNot   = 0x80000000
)

// startDriver starts the stand-in driver under com0com's name.
func (w *wine) startDriver(ctx context.Context) error {
	if _, err := w.run(ctx, "sc.exe", "create", "com0com", "type=", "kernel", "binPath=", `C:\windows\system32\drivers\c0sim.sys`); err != nil {
		return err
	}
	out, err := w.run(ctx, "sc.exe", "start", "com0com")
	if err == nil && !strings.Contains(out, "RUNNING") {
		err = fmt.Errorf("the driver is not running:\n%s", out)
	}
	return err
}

package listening

import (
	"context"
	"fmt"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/windows"
)

// tcpTableOwnerPIDListener is TCP_TABLE_OWNER_PID_LISTENER of TCP_TABLE_CLASS.
const tcpTableOwnerPIDListener = 3

// tableTries is how often a table is read at most, if it grows meanwhile.
const tableTries = 10

var getExtendedTCPTable = windows.NewLazySystemDLL("iphlpapi.dll").NewProc("GetExtendedTcpTable")

// list reads the system's two tables, in which every user sees all process identifiers, and looks up names and users.
func list(_ context.Context, port uint16) ([]Listener, error) {
	v4, err := readTable(windows.AF_INET)
	if err != nil {
		return nil, err
	}
	v6, err := readTable(windows.AF_INET6)
	if err != nil {
		return nil, err
	}
	var all []Listener
	for _, o := range mergeTables(parseTable4(v4, port), parseTable6(v6, port)) {
		l := Listener{Address: o.address, PID: o.pid}
		l.Process, l.User = describe(uint32(o.pid))
		all = append(all, l)
	}
	return all, nil
}

// readTable calls GetExtendedTcpTable(table, size, order, family, class, reserved) until the table fits.
func readTable(family uintptr) ([]byte, error) {
	if err := getExtendedTCPTable.Find(); err != nil {
		return nil, fmt.Errorf("list TCP listeners: %w", err)
	}
	size := uint32(4 << 10)
	for range tableTries {
		table := make([]byte, size)
		status, _, _ := getExtendedTCPTable.Call(uintptr(unsafe.Pointer(&table[0])), uintptr(unsafe.Pointer(&size)), 0,
			family, tcpTableOwnerPIDListener, 0)
		switch err := windows.Errno(status); err {
		case windows.ERROR_SUCCESS:
			return table, nil
		case windows.ERROR_INSUFFICIENT_BUFFER:
			size += size / 4 // it may grow again
		default:
			return nil, fmt.Errorf("list TCP listeners: GetExtendedTcpTable: %w", err)
		}
	}
	return nil, fmt.Errorf("list TCP listeners: GetExtendedTcpTable: %w", windows.ERROR_INSUFFICIENT_BUFFER)
}

// describe returns the file name of a process's program, and its user as DOMAIN\NAME; each is empty if not visible.
func describe(pid uint32) (program, user string) {
	process, err := windows.OpenProcess(windows.PROCESS_QUERY_LIMITED_INFORMATION, false, pid)
	if err != nil {
		return "", ""
	}
	defer func() { _ = windows.CloseHandle(process) }()
	name := make([]uint16, windows.MAX_LONG_PATH)
	size := uint32(len(name))
	if windows.QueryFullProcessImageName(process, 0, &name[0], &size) == nil {
		program = filepath.Base(windows.UTF16ToString(name[:size]))
	}
	var token windows.Token
	if windows.OpenProcessToken(process, windows.TOKEN_QUERY, &token) != nil {
		return program, ""
	}
	defer func() { _ = token.Close() }()
	owner, err := token.GetTokenUser()
	if err != nil {
		return program, ""
	}
	account, domain, _, err := owner.User.Sid.LookupAccount("")
	if err != nil {
		return program, owner.User.Sid.String()
	}
	return program, domain + `\` + account
}

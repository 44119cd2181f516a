package wincom

import (
	"slices"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
)

// Which program has a port open. Windows has no query for a device; it has a table of all handles of all processes, and
// reports the name of a handle's object. Opening the port to see whether it is free would look like an application to the
// agent.

// handleEntry is SYSTEM_HANDLE_TABLE_ENTRY_INFO_EX.
type handleEntry struct {
	object, process, handle uintptr
	access                  uint32
	trace, kind             uint16
	attributes, reserved    uint32
}

// handlePatience bounds the query for one handle's name: for a pipe with a pending read it blocks until the read completes.
const handlePatience = 200 * time.Millisecond

// handlesStuck is how many queries may block before holdersOf gives up: each keeps a thread.
const handlesStuck = 8

var ntQueryObject = windows.NewLazySystemDLL("ntdll.dll").NewProc("NtQueryObject")

// holdersOf returns, by device, which program has it open, as "putty.exe, pid 12". Processes that this one has no right to
// inspect are skipped.
func holdersOf(devices []string) map[string]string {
	holders := map[string]string{}
	if !slices.ContainsFunc(devices, func(d string) bool { return d != "" }) {
		return holders
	}
	handles := fileHandles()
	stuck := 0
	for len(handles) > 0 && stuck < handlesStuck {
		pid := handles[0].process
		own := slices.IndexFunc(handles, func(e handleEntry) bool { return e.process != pid })
		if own < 0 {
			own = len(handles)
		}
		stuck += inspectProcess(uint32(pid), handles[:own], devices, holders, handlesStuck-stuck)
		handles = handles[own:]
	}
	return holders
}

// fileHandles returns the handles of files and devices of all processes, sorted by process.
func fileHandles() []handleEntry {
	name, err := windows.UTF16PtrFromString("NUL")
	if err != nil {
		return nil
	}
	// The type number of files differs between versions of Windows: take it from a file of our own.
	known, err := windows.CreateFile(name, windows.GENERIC_READ, windows.FILE_SHARE_READ|windows.FILE_SHARE_WRITE, nil, windows.OPEN_EXISTING, 0, 0)
	if err != nil {
		return nil
	}
	defer windows.CloseHandle(known)
	all := allHandles()
	own := slices.IndexFunc(all, func(e handleEntry) bool {
		return uint32(e.process) == windows.GetCurrentProcessId() && e.handle == uintptr(known)
	})
	if own < 0 {
		return nil
	}
	kind := all[own].kind
	files := slices.DeleteFunc(all, func(e handleEntry) bool { return e.kind != kind })
	slices.SortStableFunc(files, func(a, b handleEntry) int { return int(a.process) - int(b.process) })
	return files
}

// allHandles reads the system's handle table.
func allHandles() []handleEntry {
	const most = 256 << 20
	for size := 1 << 20; size <= most; size *= 2 {
		words := make([]uint64, size/8)
		var need uint32
		err := windows.NtQuerySystemInformation(windows.SystemExtendedHandleInformation, unsafe.Pointer(&words[0]), uint32(size), &need)
		if err == windows.STATUS_INFO_LENGTH_MISMATCH {
			continue
		}
		if err != nil {
			return nil
		}
		head := (*struct{ count, reserved uintptr })(unsafe.Pointer(&words[0]))
		room := (size - int(unsafe.Sizeof(*head))) / int(unsafe.Sizeof(handleEntry{}))
		first := (*handleEntry)(unsafe.Add(unsafe.Pointer(head), unsafe.Sizeof(*head)))
		return slices.Clone(unsafe.Slice(first, min(int(head.count), room)))
	}
	return nil
}

// inspectProcess looks for the devices among one process's handles and adds what it finds to holders. It returns how many
// queries blocked, and stops after most of them.
func inspectProcess(pid uint32, handles []handleEntry, devices []string, holders map[string]string, most int) (stuck int) {
	process, err := windows.OpenProcess(windows.PROCESS_DUP_HANDLE, false, pid)
	if err != nil {
		return 0
	}
	defer windows.CloseHandle(process)
	for _, e := range handles {
		var h windows.Handle
		err := windows.DuplicateHandle(process, windows.Handle(e.handle), windows.CurrentProcess(), &h, 0, false, windows.DUPLICATE_SAME_ACCESS)
		if err != nil {
			continue
		}
		found := make(chan string, 1)
		// Ends when the query does. One that blocks for ever keeps its thread and its handle until this process ends.
		go func() {
			found <- objectName(h)
			_ = windows.CloseHandle(h)
		}()
		select {
		case name := <-found:
			if slices.ContainsFunc(devices, func(d string) bool { return d != "" && strings.EqualFold(d, name) }) {
				holders[name] = processName(pid)
			}
		case <-time.After(handlePatience):
			if stuck++; stuck >= most {
				return stuck
			}
		}
	}
	return stuck
}

// objectName returns the name of a handle's object: \Device\com0com10.
func objectName(h windows.Handle) string {
	const objectNameInformation = 1
	var buffer struct {
		name windows.NTUnicodeString
		text [1 << 10]uint16 // name points into it
	}
	var n uint32
	status, _, _ := ntQueryObject.Call(uintptr(h), objectNameInformation, uintptr(unsafe.Pointer(&buffer)), unsafe.Sizeof(buffer), uintptr(unsafe.Pointer(&n)))
	if status != 0 || buffer.name.Buffer == nil {
		return ""
	}
	return buffer.name.String()
}

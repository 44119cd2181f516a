//go:build amd64 || arm64

package run

import (
	"maps"
	"slices"

	"golang.org/x/sys/unix"
)

// Offsets in struct seccomp_data, which a filter reads in words of 32 bits.
const (
	dataNumber  = 0
	dataArch    = 4
	dataRequest = 24 // the lower half of args[1], little endian: the kernel takes an ioctl's request as 32 bits
)

// filter returns a seccomp program that hands the trapped calls to the listener and lets all others pass. It checks the
// architecture first, because numbers differ between ABIs.
//
//	load the architecture
//	for each ABI: not this one? skip its section
//	    load the number
//	    an ioctl? jump to the requests
//	    a trapped call? jump to notify
//	    allow
//	allow
//	requests: load the request; a serial one? jump to notify
//	allow
//	notify
//
// A jump's offset is one byte; a test checks that the program is short enough. paths says whether calls with paths are
// trapped besides open.
func filter(paths bool) []unix.SockFilter {
	sections := make([][]uint32, len(abis)) // the numbers: ioctls first
	length := 1                             // of everything before the requests
	ioctls := make([]int, len(abis))
	for i, a := range abis {
		for _, number := range slices.Sorted(maps.Keys(a.calls)) {
			switch k := a.calls[number].kind; {
			case k == kindIoctl:
				sections[i] = slices.Insert(sections[i], 0, number)
				ioctls[i]++
			case paths || k == kindOpen || k == kindOpen2 || k == kindCreate:
				sections[i] = append(sections[i], number)
			}
		}
		length += 1 + 2 + len(sections[i]) + 1
	}
	length++ // allow, for an unknown ABI
	requests := length
	notify := requests + 1 + len(serialRequests) + 1

	p := []unix.SockFilter{load(dataArch)}
	for i, numbers := range sections {
		p = append(p, jumpUnless(abis[i].audit, 2+len(numbers)+1))
		p = append(p, load(dataNumber), unix.SockFilter{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: ^uint32(x32Bit)})
		for j, number := range numbers {
			target := notify
			if j < ioctls[i] {
				target = requests
			}
			p = append(p, jumpIf(number, target-len(p)-1))
		}
		p = append(p, allow)
	}
	p = append(p, allow, load(dataRequest))
	for _, request := range serialRequests {
		p = append(p, jumpIf(request, notify-len(p)-1))
	}
	return append(p, allow, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_USER_NOTIF})
}

var allow = unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW}

func load(at uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: at}
}

func jumpIf(value uint32, over int) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: value, Jt: uint8(over)}
}

func jumpUnless(value uint32, over int) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: value, Jf: uint8(over)}
}

package wincom

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/registry"
)

// driverService is the name of com0com's service.
const driverService = "com0com"

// readKernel reads this Windows' policy for drivers. What cannot be read counts as off.
func readKernel() kernel {
	return kernel{
		build:       windows.RtlGetVersion().BuildNumber,
		secureBoot:  registryNumber(`SYSTEM\CurrentControlSet\Control\SecureBoot\State`, "UEFISecureBootEnabled") == 1,
		testSigning: strings.Contains(strings.ToUpper(registryString(`SYSTEM\CurrentControlSet\Control`, "SystemStartOptions", 0)), "TESTSIGNING"),
	}
}

// readDriver reads the facts about com0com's driver.
func readDriver() driver {
	d := driver{
		name: driverService,
		from: "its installer is at https://sourceforge.net/projects/com0com; with Secure Boot on, Windows 10 and 11 refuse its " +
			"3.0.0.0; the 2.2.2.0 that Akeo signed is reported to load",
		problems: deviceProblems(driverService),
	}
	var file string
	d.service, file = readService(driverService)
	if file != "" {
		d.version, d.signer = fileVersion(file), fileSigner(file)
	}
	return d
}

func registryNumber(key, name string) uint64 {
	k, err := registry.OpenKey(registry.LOCAL_MACHINE, key, registry.QUERY_VALUE)
	if err != nil {
		return 0
	}
	defer k.Close()
	n, _, err := k.GetIntegerValue(name)
	if err != nil {
		return 0
	}
	return n
}

// readService returns the state of a driver's service, and the driver's file if the registry has it.
func readService(name string) (state serviceState, file string) {
	m, err := windows.OpenSCManager(nil, nil, windows.SC_MANAGER_CONNECT)
	if err != nil {
		return serviceMissing, ""
	}
	defer windows.CloseServiceHandle(m)
	p, err := windows.UTF16PtrFromString(name)
	if err != nil {
		return serviceMissing, ""
	}
	s, err := windows.OpenService(m, p, windows.SERVICE_QUERY_STATUS)
	if err != nil {
		return serviceMissing, ""
	}
	defer windows.CloseServiceHandle(s)
	state = serviceStopped
	var status windows.SERVICE_STATUS
	if err := windows.QueryServiceStatus(s, &status); err == nil && status.CurrentState == windows.SERVICE_RUNNING {
		state = serviceRunning
	}
	image := registryString(`SYSTEM\CurrentControlSet\Services\`+name, "ImagePath", 0)
	dir, err := windows.GetWindowsDirectory()
	if err != nil || image == "" {
		return state, ""
	}
	return state, imageFile(image, dir)
}

// fileVersion returns a file's version, as 3.0.0.0; empty if it has none.
func fileVersion(name string) string {
	var unused windows.Handle
	size, err := windows.GetFileVersionInfoSize(name, &unused)
	if err != nil || size == 0 {
		return ""
	}
	info := make([]byte, size)
	if err := windows.GetFileVersionInfo(name, 0, size, unsafe.Pointer(&info[0])); err != nil {
		return ""
	}
	var fixed *windows.VS_FIXEDFILEINFO
	var n uint32
	if err := windows.VerQueryValue(unsafe.Pointer(&info[0]), `\`, unsafe.Pointer(&fixed), &n); err != nil || fixed == nil {
		return ""
	}
	return fmt.Sprintf("%d.%d.%d.%d", fixed.FileVersionMS>>16, fixed.FileVersionMS&0xFFFF, fixed.FileVersionLS>>16, fixed.FileVersionLS&0xFFFF)
}

// fileSigner returns who signed a file; empty if the file itself has no signature (a catalog may have one). It does not
// verify the signature: Windows does, and reports Code 52.
func fileSigner(name string) string {
	p, err := windows.UTF16PtrFromString(name)
	if err != nil {
		return ""
	}
	var store, message windows.Handle
	err = windows.CryptQueryObject(windows.CERT_QUERY_OBJECT_FILE, unsafe.Pointer(p), windows.CERT_QUERY_CONTENT_FLAG_PKCS7_SIGNED_EMBED,
		windows.CERT_QUERY_FORMAT_FLAG_BINARY, 0, nil, nil, nil, &store, &message, nil)
	if err != nil {
		return ""
	}
	defer windows.CertCloseStore(store, 0)
	defer cryptMsgClose.Call(uintptr(message))
	id, err := signerID(message)
	if err != nil {
		return ""
	}
	certificate, err := windows.CertFindCertificateInStore(store, windows.X509_ASN_ENCODING|windows.PKCS_7_ASN_ENCODING, 0,
		windows.CERT_FIND_SUBJECT_CERT, unsafe.Pointer(&id[0]), nil)
	if err != nil {
		return ""
	}
	defer windows.CertFreeCertificateContext(certificate)
	var subject [256]uint16
	windows.CertGetNameString(certificate, windows.CERT_NAME_SIMPLE_DISPLAY_TYPE, 0, nil, &subject[0], uint32(len(subject)))
	return windows.UTF16ToString(subject[:])
}

var (
	crypt32          = windows.NewLazySystemDLL("crypt32.dll")
	cryptMsgClose    = crypt32.NewProc("CryptMsgClose")
	cryptMsgGetParam = crypt32.NewProc("CryptMsgGetParam")
)

// signerID returns the CERT_INFO by which the signer's certificate is found.
func signerID(message windows.Handle) ([]byte, error) {
	const cmsgSignerCertInfoParam = 7
	var n uint32
	if ok, _, err := cryptMsgGetParam.Call(uintptr(message), cmsgSignerCertInfoParam, 0, 0, uintptr(unsafe.Pointer(&n))); ok == 0 {
		return nil, err
	}
	if n == 0 {
		return nil, errors.New("no signer")
	}
	// The CERT_INFO points into itself: it must not move, and be aligned for pointers.
	words := make([]uint64, (n+7)/8)
	id := unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), n)
	if ok, _, err := cryptMsgGetParam.Call(uintptr(message), cmsgSignerCertInfoParam, 0, uintptr(unsafe.Pointer(&id[0])), uintptr(unsafe.Pointer(&n))); ok == 0 {
		return nil, err
	}
	return id, nil
}

// eachDevice calls do for every present device of a setup class, or with DIGCF_DEVICEINTERFACE of an interface class.
func eachDevice(class *windows.GUID, flags windows.DIGCF, do func(windows.DevInfo, *windows.DevInfoData)) {
	list, err := windows.SetupDiGetClassDevsEx(class, "", 0, flags|windows.DIGCF_PRESENT, 0, "")
	if err != nil {
		return
	}
	defer list.Close()
	for i := 0; ; i++ {
		data, err := list.EnumDeviceInfo(i)
		if errors.Is(err, windows.ERROR_NO_MORE_ITEMS) {
			return
		}
		if err == nil {
			do(list, data)
		} else if i > 1<<16 {
			return // the same error for ever
		}
	}
}

// deviceProblems returns the devices of a driver that Windows does not start.
func deviceProblems(service string) []problem {
	var found []problem
	eachDevice(nil, windows.DIGCF_ALLCLASSES, func(list windows.DevInfo, data *windows.DevInfoData) {
		s, err := list.DeviceRegistryProperty(data, windows.SPDRP_SERVICE)
		if name, ok := s.(string); err != nil || !ok || !strings.EqualFold(name, service) {
			return
		}
		const hasProblem = 0x400 // DN_HAS_PROBLEM
		var state, code uint32
		if err := windows.CM_Get_DevNode_Status(&state, &code, data.DevInst, 0); err != nil || state&hasProblem == 0 {
			return
		}
		id, err := list.DeviceInstanceID(data)
		if err != nil {
			id = service
		}
		found = append(found, problem{id, code})
	})
	return found
}

// shownPorts returns the ports among the devices of a class: their port names, and the last part of their instance IDs, as
// CNCA0.
func shownPorts(class *windows.GUID, flags windows.DIGCF) []string {
	var names []string
	eachDevice(class, flags, func(list windows.DevInfo, data *windows.DevInfoData) {
		if id, err := list.DeviceInstanceID(data); err == nil {
			names = append(names, id[strings.LastIndex(id, `\`)+1:])
		}
		h, err := list.OpenDevRegKey(data, windows.DICS_FLAG_GLOBAL, 0, windows.DIREG_DEV, windows.KEY_READ)
		if err != nil {
			return
		}
		k := registry.Key(h)
		defer k.Close()
		if name, _, err := k.GetStringValue("PortName"); err == nil {
			names = append(names, name)
		}
	})
	return names
}

// deviceMapKey is where drivers register the names of their ports, by device.
const deviceMapKey = `HARDWARE\DEVICEMAP\SERIALCOMM`

// deviceMap returns the port names in the device map, which most programs list.
func deviceMap() []string {
	k, err := registry.OpenKey(registry.LOCAL_MACHINE, deviceMapKey, registry.QUERY_VALUE)
	if err != nil {
		return nil
	}
	defer k.Close()
	values, err := k.ReadValueNames(-1)
	if err != nil {
		return nil
	}
	var names []string
	for _, value := range values {
		if name, _, err := k.GetStringValue(value); err == nil {
			names = append(names, name)
		}
	}
	return names
}

var (
	portsClass    = &windows.GUID{Data1: 0x4d36e978, Data2: 0xe325, Data3: 0x11ce, Data4: [8]byte{0xbf, 0xc1, 0x08, 0x00, 0x2b, 0xe1, 0x03, 0x18}} // GUID_DEVCLASS_PORTS
	portInterface = &windows.GUID{Data1: 0x86e0d1e0, Data2: 0x8089, Data3: 0x11d0, Data4: [8]byte{0x9c, 0xe4, 0x08, 0x00, 0x3e, 0x30, 0x1f, 0x73}} // GUID_DEVINTERFACE_COMPORT
)

// readPairs reads the facts about all pairs: which lists show them, and which programs have their ends open.
func readPairs() ([]pairFacts, error) {
	pairs, err := Pairs()
	if err != nil {
		return nil, err
	}
	inMap, inClass, asInterface := deviceMap(), shownPorts(portsClass, 0), shownPorts(portInterface, windows.DIGCF_DEVICEINTERFACE)
	var devices []string
	for _, p := range pairs {
		devices = append(devices, deviceOf(p.A.Name), deviceOf(p.B.Name))
	}
	holders := holdersOf(devices)
	var facts []pairFacts
	for i, p := range pairs {
		shown := func(names []string) bool {
			return slices.ContainsFunc(names, func(name string) bool { return strings.EqualFold(name, p.A.Name) || strings.EqualFold(name, p.A.ID) })
		}
		facts = append(facts, pairFacts{
			pair: p, inDeviceMap: shown(inMap), inPortsClass: shown(inClass), asInterface: shown(asInterface),
			holderA: holders[devices[2*i]], holderB: holders[devices[2*i+1]],
		})
	}
	return facts, nil
}

// checkDriver returns why this machine's driver does not work; nil if it does.
func checkDriver() error { return readKernel().driverError(readDriver()) }

// processName describes a process: putty.exe, pid 12.
func processName(pid uint32) string {
	h, err := windows.OpenProcess(windows.PROCESS_QUERY_LIMITED_INFORMATION, false, pid)
	if err != nil {
		return fmt.Sprintf("pid %d", pid)
	}
	defer windows.CloseHandle(h)
	var path [windows.MAX_LONG_PATH]uint16
	n := uint32(len(path))
	if err := windows.QueryFullProcessImageName(h, 0, &path[0], &n); err != nil {
		return fmt.Sprintf("pid %d", pid)
	}
	return fmt.Sprintf("%s, pid %d", filepath.Base(windows.UTF16ToString(path[:n])), pid)
}

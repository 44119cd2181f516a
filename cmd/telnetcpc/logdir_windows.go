package main

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/windows"
)

// logAccess: owned by the administrators; they and the system may do all, users may read. Nothing is inherited from
// %ProgramData%, where every user may make files: a link of his in the place of a log would be written to.
const logAccess = "O:BAG:BAD:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;0x1200a9;;;BU)"

// makeLogDir makes the directory of the services' logs, where it is not there yet, and sees to who may write there. One
// that somebody else made is not used: what lies in it may be a trap.
func makeLogDir() error {
	sd, err := windows.SecurityDescriptorFromString(logAccess)
	if err != nil {
		return fmt.Errorf("%s: %w", logDir(), err)
	}
	name, err := windows.UTF16PtrFromString(logDir())
	if err != nil {
		return fmt.Errorf("%s: %w", logDir(), err)
	}
	attributes := &windows.SecurityAttributes{SecurityDescriptor: sd}
	attributes.Length = uint32(unsafe.Sizeof(*attributes))
	switch err := windows.CreateDirectory(name, attributes); {
	case err == nil:
		return nil
	case !errors.Is(err, windows.ERROR_ALREADY_EXISTS):
		return fmt.Errorf("%s: %w", logDir(), err)
	}
	if err := checkOwner(logDir()); err != nil {
		return err
	}
	dacl, _, err := sd.DACL()
	if err == nil {
		err = windows.SetNamedSecurityInfo(logDir(), windows.SE_FILE_OBJECT,
			windows.DACL_SECURITY_INFORMATION|windows.PROTECTED_DACL_SECURITY_INFORMATION, nil, nil, dacl, nil)
	}
	if err != nil {
		return fmt.Errorf("%s: access: %w", logDir(), err)
	}
	return nil
}

func checkOwner(name string) error {
	sd, err := windows.GetNamedSecurityInfo(name, windows.SE_FILE_OBJECT, windows.OWNER_SECURITY_INFORMATION)
	if err != nil {
		return fmt.Errorf("%s: owner: %w", name, err)
	}
	owner, _, err := sd.Owner()
	if err != nil {
		return fmt.Errorf("%s: owner: %w", name, err)
	}
	if owner.IsWellKnown(windows.WinBuiltinAdministratorsSid) || owner.IsWellKnown(windows.WinLocalSystemSid) {
		return nil
	}
	return fmt.Errorf("%s was made by %s, not by an administrator (remove it)", name, owner)
}

package winservice

import (
	"errors"
	"fmt"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/windows"
)

// logAccess: owned by the administrators; they and the system have full access, users may read. Nothing is inherited from
// %ProgramData%, where every user may create files: the service would write through a link that a user put in place of a
// log.
const logAccess = "O:BAG:BAD:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;0x1200a9;;;BU)"

// logDir is where services log, %ProgramData%\telnetcpc. The directory comes from Windows and not from the environment,
// which may differ between a service and the user who asks for its status.
func logDir() string {
	dir, err := windows.KnownFolderPath(windows.FOLDERID_ProgramData, 0)
	if err != nil {
		dir = `C:\ProgramData`
	}
	return filepath.Join(dir, "telnetcpc")
}

// makeLogDir makes the directory of the services' logs unless it exists, and sets who may write there. A directory that
// another user made is not used: it may contain such links.
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
	const what = windows.OWNER_SECURITY_INFORMATION | windows.DACL_SECURITY_INFORMATION | windows.PROTECTED_DACL_SECURITY_INFORMATION
	owner, _, err := sd.Owner()
	if err != nil {
		return fmt.Errorf("%s: access: %w", logDir(), err)
	}
	dacl, _, err := sd.DACL()
	if err != nil {
		return fmt.Errorf("%s: access: %w", logDir(), err)
	}
	if err := windows.SetNamedSecurityInfo(logDir(), windows.SE_FILE_OBJECT, what, owner, nil, dacl, nil); err != nil {
		return fmt.Errorf("%s: access: %w", logDir(), err)
	}
	return nil
}

// checkOwner returns an error unless the owner is the system, the administrators, or this process's own user.
func checkOwner(name string) error {
	sd, err := windows.GetNamedSecurityInfo(name, windows.SE_FILE_OBJECT, windows.OWNER_SECURITY_INFORMATION)
	if err != nil {
		return fmt.Errorf("%s: owner: %w", name, err)
	}
	owner, _, err := sd.Owner()
	if err != nil {
		return fmt.Errorf("%s: owner: %w", name, err)
	}
	user, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		return fmt.Errorf("%s: owner: %w", name, err)
	}
	if owner.IsWellKnown(windows.WinBuiltinAdministratorsSid) || owner.IsWellKnown(windows.WinLocalSystemSid) || owner.Equals(user.User.Sid) {
		return nil
	}
	return fmt.Errorf("%s was made by %s, not by an administrator (remove it)", name, owner)
}

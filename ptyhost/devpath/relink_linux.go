package devpath

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// relink puts a link with this text in the place of the one with the text was, at once: a program that opens the path
// meanwhile finds one or the other. What else has come to the path stays there, which is fs.ErrExist.
func relink(path, was, text string) error {
	aside := asideName(path)
	_ = os.Remove(aside)
	if err := os.Symlink(text, aside); err != nil {
		return err
	}
	defer os.Remove(aside)
	err := unix.Renameat2(unix.AT_FDCWD, aside, unix.AT_FDCWD, path, unix.RENAME_EXCHANGE)
	switch {
	case errors.Is(err, unix.ENOENT): // nothing is there any more
		return os.Symlink(text, path)
	case err != nil: // this file system exchanges nothing
		_ = os.Remove(path)
		return os.Symlink(text, path)
	}
	if now, err := os.Readlink(aside); err == nil && now == was {
		return nil
	}
	_ = unix.Renameat2(unix.AT_FDCWD, aside, unix.AT_FDCWD, path, unix.RENAME_EXCHANGE)
	return fs.ErrExist
}

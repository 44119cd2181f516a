package devpath

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// relink replaces the link whose text is was with one that has this text, atomically if the file system has
// RENAME_EXCHANGE: a program that opens the path meanwhile finds one or the other. Anything else at the path stays
// there; the error is then fs.ErrExist.
func relink(path, was, text string) error {
	aside := asideName(path)
	_ = os.Remove(aside)
	if err := os.Symlink(text, aside); err != nil {
		return err
	}
	defer os.Remove(aside)
	err := unix.Renameat2(unix.AT_FDCWD, aside, unix.AT_FDCWD, path, unix.RENAME_EXCHANGE)
	switch {
	case errors.Is(err, unix.ENOENT): // the path is gone
		return os.Symlink(text, path)
	case err != nil: // this file system has no RENAME_EXCHANGE
		_ = os.Remove(path)
		return os.Symlink(text, path)
	}
	if now, err := os.Readlink(aside); err == nil && now == was {
		return nil
	}
	_ = unix.Renameat2(unix.AT_FDCWD, aside, unix.AT_FDCWD, path, unix.RENAME_EXCHANGE)
	return fs.ErrExist
}

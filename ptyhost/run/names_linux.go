//go:build amd64 || arm64

package run

import (
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// names are the paths that lead to the port. They are immutable: no lock is needed.
type names struct {
	as      []string // mapped paths, as patterns of path.Match: they are the port, whatever exists there
	parents []string // patterns of their directories, which appear to exist
	own     []string // the port's own path, which exists in the file system; empty: there is no port now
	bases   []string // patterns of the last elements of as and parents
}

// newNames returns the names of a port.
func newNames(as, own []string) *names {
	n := &names{as: as, own: own}
	for _, pattern := range as {
		for dir := path.Dir(pattern); dir != "/"; dir = path.Dir(dir) {
			if !slices.Contains(n.parents, dir) {
				n.parents = append(n.parents, dir)
			}
		}
	}
	for _, pattern := range slices.Concat(as, n.parents) {
		n.bases = append(n.bases, path.Base(pattern))
	}
	return n
}

// mapped reports whether a path is a mapped one.
func (n *names) mapped(text string) bool { return matchesAny(n.as, text) }

// mappedParent reports whether a path is a directory of a mapped one.
func (n *names) mappedParent(text string) bool { return matchesAny(n.parents, text) }

// mayMatch reports whether a path with this last element may be one of these, if that element is no link.
func (n *names) mayMatch(base string) bool {
	return matchesAny(n.bases, base) || slices.ContainsFunc(n.own, func(own string) bool { return path.Base(own) == base })
}

// mappedAsWritten reports whether a path is a mapped one as written, before any lookup: a mapped path leads to the port
// wherever its directories lead.
func (n *names) mappedAsWritten(text string) bool {
	return path.IsAbs(text) && !strings.HasSuffix(text, "/") && !slices.Contains(strings.Split(text, "/"), "..") && n.mapped(path.Clean(text))
}

func matchesAny(patterns []string, text string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool { return matches(pattern, text) })
}

func matches(pattern, text string) bool {
	if pattern == text {
		return true
	}
	ok, err := path.Match(pattern, text)
	return ok && err == nil
}

// wildcards are the characters that path.Match does not match literally.
const wildcards = `*?[\`

// withResolvedDirectories adds to each pattern its name without symbolic links in its directories, which is where a
// lookup ends. Links after a wildcard are not resolved.
func withResolvedDirectories(as []string) []string {
	all := slices.Clone(as)
	for _, pattern := range as {
		dir, rest := path.Dir(pattern), path.Base(pattern)
		for strings.ContainsAny(dir, wildcards) {
			dir, rest = path.Dir(dir), path.Join(path.Base(dir), rest)
		}
		found, err := filepath.EvalSymlinks(dir)
		for err != nil && dir != "/" { // it does not exist: resolve the next directory above
			dir, rest = path.Dir(dir), path.Join(path.Base(dir), rest)
			found, err = filepath.EvalSymlinks(dir)
		}
		if err != nil || strings.ContainsAny(found, wildcards) {
			continue
		}
		if other := path.Join(found, rest); !slices.Contains(all, other) {
			all = append(all, other)
		}
	}
	return all
}

// ownNames returns a port's path, and its name without symbolic links in its directories.
func ownNames(text string) []string {
	if strings.ContainsAny(text, wildcards) {
		return []string{text}
	}
	return withResolvedDirectories([]string{text})
}

//go:build amd64 || arm64

package run

import (
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// names are the paths that are the port's. They do not change once they are made: who has them needs no lock.
type names struct {
	as      []string // patterns of path.Match: paths that are the port whatever is there
	parents []string // patterns of the directories of as, which look as if they were there
	own     []string // the port's own path, which is in the file system; empty: there is no port now
	bases   []string // patterns of the last elements of all these
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

// mapped reports whether a path is one of as.
func (n *names) mapped(text string) bool { return matchesAny(n.as, text) }

// parent reports whether a path is a directory of one of as.
func (n *names) mappedParent(text string) bool { return matchesAny(n.parents, text) }

// candidate reports whether a path with this last element may be one of these without being a link.
func (n *names) mayMatch(base string) bool {
	return matchesAny(n.bases, base) || slices.ContainsFunc(n.own, func(own string) bool { return path.Base(own) == base })
}

// lexical reports whether a path that was not looked up is one of as, as its letters say: what it is called counts as much
// as where it leads.
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

// wild are the letters that path.Match does not take as they are.
const wildcards = `*?[\`

// withDirectories adds to each pattern what it is called where its directory is reached without links: a path that is
// looked up ends there. Links in a directory with wildcards are not looked at.
func withResolvedDirectories(as []string) []string {
	all := slices.Clone(as)
	for _, pattern := range as {
		dir, rest := path.Dir(pattern), path.Base(pattern)
		for strings.ContainsAny(dir, wildcards) {
			dir, rest = path.Dir(dir), path.Join(path.Base(dir), rest)
		}
		found, err := filepath.EvalSymlinks(dir)
		for err != nil && dir != "/" { // not there: some directory above it is
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

// literally is a path, and what it is called where its directory is reached without links.
func ownNames(text string) []string {
	if strings.ContainsAny(text, wildcards) {
		return []string{text}
	}
	return withResolvedDirectories([]string{text})
}

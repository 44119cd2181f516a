package bridge

import "sync"

// notice tells whoever waits that something has changed. The zero value is ready; both methods may be called by anyone,
// under any lock, and never block.
type notice struct {
	mu sync.Mutex // over c
	c  chan struct{}
}

// wait returns a channel that the next tell closes. Who looks at something after this misses no change of it.
func (n *notice) wait() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.c == nil {
		n.c = make(chan struct{})
	}
	return n.c
}

// tell wakes all who wait.
func (n *notice) tell() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.c != nil {
		close(n.c)
		n.c = nil
	}
}

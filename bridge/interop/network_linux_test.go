package interop

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/tcp"
	"telnetcpc/bridge/testenv"
)

// network is two network namespaces and a cable between them:
//
//	application -- PORT == telnetcpc attach      access server == device
//	                       10.217.0.1  ---------  10.217.0.2
//
// A nil network is this machine's loopback.
type network struct {
	t              *testing.T
	client, server string // the namespaces
}

const (
	clientAddress, serverAddress = "10.217.0.1", "10.217.0.2"
	cable                        = "cable" // each end's name
)

var networks atomic.Int64 // number of networks made, for unique names

// newNetwork makes a network, or skips the test if that is not permitted.
func newNetwork(t *testing.T) *network {
	t.Helper()
	need(t, "ip", "nft")
	name := fmt.Sprintf("telnetcpc-%d-%d", os.Getpid(), networks.Add(1))
	n := &network{t: t, client: name + "-client", server: name + "-server"}
	for _, ns := range []string{n.client, n.server} {
		n.try("ip", "netns", "add", ns)
		t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", ns).Run() })
	}
	n.try("ip", "netns", "exec", n.server, "nft", "add table inet cut; delete table inet cut")
	n.run("ip", "-n", n.client, "link", "add", cable, "type", "veth", "peer", "name", cable, "netns", n.server)
	n.run("ip", "-n", n.client, "address", "add", clientAddress+"/30", "dev", cable)
	n.run("ip", "-n", n.server, "address", "add", serverAddress+"/30", "dev", cable)
	n.run("ip", "-n", n.client, "link", "set", cable, "up")
	n.run("ip", "-n", n.server, "link", "set", cable, "up")
	return n
}

// try runs a command, and skips the test if it fails.
func (n *network) try(command ...string) {
	n.t.Helper()
	if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
		n.t.Skipf("cannot make a network namespace here (it needs root): %s: %v: %s", strings.Join(command, " "), err, strings.TrimSpace(string(out)))
	}
}

func (n *network) run(command ...string) {
	n.t.Helper()
	if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
		n.t.Fatalf("%s: %v\n%s", strings.Join(command, " "), err, out)
	}
}

// drop drops every packet from now on, in both directions.
func (n *network) drop() {
	n.t.Helper()
	n.filter("drop")
}

// lose drops a percentage of packets from now on, in both directions.
func (n *network) lose(percent int) {
	n.t.Helper()
	n.filter(fmt.Sprintf("numgen random mod 100 < %d drop", percent))
}

func (n *network) filter(rule string) {
	n.t.Helper()
	n.run("ip", "netns", "exec", n.server, "nft", fmt.Sprintf(`table inet cut {
		chain in { type filter hook input priority 0; %s; }
		chain out { type filter hook output priority 0; %s; }
	}`, rule, rule))
}

// heal ends drop and lose.
func (n *network) heal() {
	n.t.Helper()
	n.run("ip", "netns", "exec", n.server, "nft", "delete table inet cut")
}

// plug connects or disconnects the cable at the server.
func (n *network) plug(in bool) {
	n.t.Helper()
	state := map[bool]string{true: "up", false: "down"}[in]
	n.run("ip", "-n", n.server, "link", "set", cable, state)
}

// timers returns the output of ss with the TCP timers of the client's connections.
func (n *network) timers() string {
	n.t.Helper()
	out, err := exec.Command("ip", "netns", "exec", n.client, "ss", "-tno").CombinedOutput()
	if err != nil {
		n.t.Fatalf("ss: %v\n%s", err, out)
	}
	return string(out)
}

func (n *network) atServer(cmd *exec.Cmd) *exec.Cmd {
	if n == nil {
		return cmd
	}
	return inside(n.server, cmd)
}

func (n *network) attach(url string, flags ...string) *agent {
	n.t.Helper()
	return attachThrough(n.t, testenv.Race, func(cmd *exec.Cmd) *exec.Cmd { return inside(n.client, cmd) }, url, flags...)
}

// inside returns cmd in a network namespace. ip executes the command in its own process, which therefore has its pid
// and signals.
func inside(namespace string, cmd *exec.Cmd) *exec.Cmd {
	return exec.Command("ip", append([]string{"netns", "exec", namespace, cmd.Path}, cmd.Args[1:]...)...)
}

// listen listens on the server's side of the network, in this process: a socket stays in the namespace in which it was
// made.
func (n *network) listen() net.Listener {
	n.t.Helper()
	l, err := listenInside(n.server)
	if err != nil {
		n.t.Fatalf("listen in the server's namespace: %v", err)
	}
	n.t.Cleanup(func() { _ = l.Close() })
	return l
}

// listenInside listens in a namespace.
func listenInside(namespace string) (l net.Listener, err error) {
	err = atNamespace(namespace, func() error {
		l, err = tcp.Listen(context.Background(), serverAddress+":0")
		return err
	})
	return l, err
}

// atNamespace calls do with its thread in a namespace, and moves the thread back.
func atNamespace(namespace string, do func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	defer func() { _ = home.Close() }()
	there, err := os.Open("/run/netns/" + namespace)
	if err != nil {
		return err
	}
	defer func() { _ = there.Close() }()
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		return err
	}
	err = do()
	if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back != nil {
		panic(back) // nothing else may run on this thread
	}
	return err
}

// delayed relays between two connections, with a delay in each direction.
func delayed(a, b net.Conn, by time.Duration) {
	go late(a, b, by)
	late(b, a, by)
}

// late relays one direction.
func late(to, from net.Conn, by time.Duration) {
	type piece struct {
		p   []byte
		due time.Time
	}
	pieces := make(chan piece, 1024)
	go func() {
		defer close(pieces)
		for {
			p := make([]byte, 4096)
			n, err := from.Read(p)
			pieces <- piece{p[:n], time.Now().Add(by)}
			if err != nil {
				return
			}
		}
	}()
	for next := range pieces {
		time.Sleep(time.Until(next.due)) // the delay
		if _, err := to.Write(next.p); err != nil {
			_ = from.Close()
		}
	}
	_ = to.Close()
}

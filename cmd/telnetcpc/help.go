package main

// The help texts, written by hand. Every example works when it is pasted.

const helpApp = `telnetcpc - a serial port whose UART is somewhere else on the network

Usage:
    telnetcpc attach [flags] PORT URL    make a serial port of a remote one
    telnetcpc run [flags] URL -- PROGRAM ARGS...
                                         run a program with a remote serial port
    telnetcpc serve [flags] DEVICE       share a serial port of this machine
    telnetcpc probe [flags] [URL]        report what a listener is and can do
    telnetcpc doctor [flags]             report what can make ports on this machine
    telnetcpc demo [flags]               show it with nothing plugged in
    telnetcpc pair list|add|remove       Windows: pairs of ports for attach
    telnetcpc service COMMAND            Windows: an attach that starts by itself
    telnetcpc completion SHELL           print completion for bash, zsh or fish
    telnetcpc version                    print the version

    telnetcpc COMMAND --help describes each.

Example:
    telnetcpc attach /dev/ttyV0 moxa.plant.example:4001
    picocom -b 19200 /dev/ttyV0

Exit status: 0 done, 1 it failed while running, 2 wrong use, 3 the port could
not be made, 4 the remote was never reached (if the command gives up).
`

const helpAttach = `telnetcpc attach - make a serial port of a remote one

Usage:
    telnetcpc attach [flags] PORT URL

PORT is where programs find the serial port: /dev/ttyV0, or any other path that
does not exist yet. It exists until telnetcpc ends (Ctrl-C). On Windows it is
COM9, one end of a com0com pair, which is made if it is missing, and stays.

URL is the access server:
    HOST, HOST:PORT, rfc2217://HOST[:3696]    RFC 2217: bytes, settings, lines
    rfc2217+tls://HOST[:3696]                 the same through TLS
    tcp://HOST:PORT                           raw bytes, no settings
    telnet://HOST[:23]                        plain Telnet, no settings
An IPv6 address is fd00::5 or [fd00::5]:4001, with a zone fe80::1%eth0.

Flags come first:
    -v                  show every byte, and log more
    --host HOST         what makes the port: auto (default), the most faithful one
                        that works here; kernel (Linux, root), a real tty; pty;
                        com0com (Windows)
    --line 7E1          use this line coding, whatever the application sets; parts
                        may be omitted: 7E1, 19200, "19200 7E1"
    --baud N            use this baud rate, whatever the application sets
    --flow FLOW         use this flow control: none, xonxoff, rtscts
    --connect WHEN      on-open (default): while the port is open; always
    --linger D          under on-open: how long to stay connected after the last
                        close (default 2s, longer if the last program has left
                        HUPCL off and DTR on: then DTR stays on)
    --open-wait D       how long a program's open waits for the connection at most,
                        if the host can make it wait (kernel, run; default 2s)
    --on-loss WHAT      when the connection is lost: hold (default; what was just
                        written waits for the next connection), discard (writes
                        succeed, bytes are dropped and counted), hangup (the port
                        disappears as an unplugged adapter does)
    --hold-for D        under hold: when the connection is back, the device gets
                        what was written within D before the newest byte; older
                        bytes are dropped and counted (default 1s; forever)
    --dcd FROM          device (default): the device's line; link: connected or not
    --mode MODE         permission bits of the port (default 660)
    --owner USER, --group GROUP
                        owner and group of the port (default: yours; if that is
                        root, group dialout)
    --ack-timeout D     how long a setting may stay unconfirmed before it is
                        reported (default 5s)
    --quirk NAME        suspend-ignore: keep sending when the server asks for a
                        pause; single-ff: the server does not double 0xFF
                        (esp-link); keep-greeting: what the server sends before
                        its first answer, usually a banner, is data too
    --tls-ca FILE       trust the certificates in this file (PEM)
    --tls-name NAME     the name in the server's certificate
    --tls-cert FILE, --tls-key FILE
                        our own certificate and its key
    --tls-insecure      accept any certificate (insecure: anyone on the path can
                        read and change bytes)

Example:
    telnetcpc attach --line 7E1 /dev/ttyV0 10.0.0.5:4001
`

const helpRun = `telnetcpc run - run a program with a remote serial port

Usage:
    telnetcpc run [flags] URL -- PROGRAM ARGS...

Linux, without root: PROGRAM, and all that it starts, find a serial port that
carries everything a UART does: every line coding, DTR, RTS, CTS, DSR, DCD, RI,
break, drain, purge, errors, exact order. Programs that are started elsewhere find
an ordinary pseudo-terminal. The port's path is in PROGRAM's environment, as
TELNETCPC_PORT. URL as for attach.

The port lives as long as PROGRAM. If processes that PROGRAM started still have
the port open when it ends, or open it within a second after that, as daemons do,
the port lives as long as they have it open, or until telnetcpc gets a signal.
Signals that telnetcpc gets are passed on to PROGRAM.

Flags come first:
    --port PATH     where the port appears (default: ttyV0 in a new directory)
    --as PATH       PROGRAM finds the port at this path too, whatever is there:
                    /dev/ttyS0, or a pattern such as '/dev/ttyUSB*'; repeatable.
                    Listing /dev does not show it.
    -v              show every byte, and log more
    --line, --baud, --flow, --connect, --linger, --open-wait, --on-loss, --hold-for,
    --dcd, --mode, --owner, --group, --ack-timeout, --quirk, --tls-ca, --tls-name,
    --tls-cert, --tls-key, --tls-insecure
                    as for attach

Exit status: PROGRAM's, or 128 and the number of the signal that ended it; 125 if
telnetcpc failed, 126 if PROGRAM cannot be executed, 127 if it was not found.

Examples:
    telnetcpc run 10.0.0.5:4001 -- python3 meter.py
    telnetcpc run --as /dev/ttyS0 10.0.0.5:4001 -- stty -F /dev/ttyS0 19200 cs7 parenb
`

const helpServe = `telnetcpc serve - an access server

Usage:
    telnetcpc serve [flags] DEVICE
    telnetcpc serve [flags] --simulate loopback|reporter

The server speaks RFC 2217. DEVICE is a serial port of this machine: /dev/ttyUSB0,
a name in /dev/serial/by-id, COM3. One client at a time has it; it is opened for
each client. If it is unplugged the client is disconnected, and the next client
gets it when it is back. A client that is dead gives way to the next one from the
same address. UUCP lock files (LCK..ttyUSB0) are taken and respected.

The simulated UART works at the speed of its line coding. Its pins are wired RTS
to CTS, and DTR to DSR, DCD and RI. loopback sends back what it gets, breaks too;
reporter answers each line with the line and the line coding: 07 with 07 4800 7E1.

Anyone who reaches the address can use the port: there is no password. On a shared
network accept only clients with a certificate (--tls-client-ca), or only some
addresses (--allow). TLS files are read again when they have changed.

Flags come first:
    --listen ADDR       where to listen (default 127.0.0.1:3696; :3696 is every
                        address of this machine)
    --allow CIDR        accept only clients from this network or address:
                        192.168.1.0/24, 10.0.0.5, fd00::/8, fe80::1%eth0; repeatable.
                        Others are closed without a reply (default: all accepted)
    --tls-cert FILE, --tls-key FILE
                        speak TLS with this certificate, followed by the intermediate
                        ones, and its key (PEM): clients use rfc2217+tls://
    --tls-client-ca FILE
                        accept only clients with a certificate that one of these has
                        signed (PEM)
    --watchers N        let N more clients read what the device sends; they cannot
                        write or set anything (default 0: a second client is refused)
    --simulate WHAT     a simulated UART: loopback or reporter
    --inject FILE       make errors and modem changes at given times, one per line:
                            at 500ms parity-error 0x41
                            at 1s break
                            at 2s modem CTS|DSR
    -v                  log more

Examples:
    telnetcpc serve --listen :3696 --allow 192.168.1.0/24 /dev/ttyUSB0
    telnetcpc serve --simulate loopback
`

const helpProbe = `telnetcpc probe - report what a listener is and can do

Usage:
    telnetcpc probe [flags] [URL]

Connects as a client does, negotiates, asks for the current settings, and prints
what it found, with what is unusual and what that means. It changes no setting and
sends nothing to the device; as with any client, the server may open the device.
URL as for attach: HOST or HOST:PORT; tcp:// and telnet:// are probed in the same
way. A listener that is silent for 3 s counts as a raw port.

Without a URL it lists the listeners on TCP port 3696 of this machine: address,
process, user, and what each of them is.

Flags come first:
    --json          print one JSON document, for programs
    --timeout D     give up on a listener after this time (default 10s)
    --thorough      query the settings and the signature even if the server
                    negotiates nothing but COM-PORT-OPTION: some small servers
                    mistake a query for a setting, or crash
    --tls-ca FILE, --tls-name NAME, --tls-cert FILE, --tls-key FILE,
    --tls-insecure  for rfc2217+tls://, as for attach

Exit status: 0 it is an access server, 1 it is something else, 2 wrong use,
4 not reached. Without a URL: 0 one of them is an access server, 1 none is or
nothing listens, 2 wrong use.

Examples:
    telnetcpc probe 10.0.0.5:4001
    telnetcpc probe
`

const helpDoctor = `telnetcpc doctor - report what can make ports on this machine

Usage:
    telnetcpc doctor [flags]

Checks each port host, the most faithful first: whether it works here, what its
ports carry and lack, and how to get one that does not work. As root on Linux it
loads the kernel's modules for kernel ttys, as attach would.

Flags:
    --json          print one JSON document, for programs

Exit status: 0 a port can be made, 1 none can, 2 wrong use.

Example:
    sudo telnetcpc doctor
`

const helpDemo = `telnetcpc demo - show it with nothing plugged in

Usage:
    telnetcpc demo [flags]

Starts an access server with a simulated UART, and a serial port connected to it,
both in this process. First comes a proof: an application opens the port, sets a
line coding, writes a line, and what arrived at the far UART is shown beside it.
Then the port is yours to try.

Flags:
    --port PATH     where the port appears (default: ttyV0 in a new directory; on
                    Windows the first pair that telnetcpc has made)
    --once          end after the proof; exit status 0 if it succeeded

Example:
    telnetcpc demo --once
`

const helpPair = `telnetcpc pair - com0com's pairs of ports, on Windows

Usage:
    telnetcpc pair list
    telnetcpc pair add PORT
    telnetcpc pair remove PORT

On Windows a port is one end of a com0com pair: programs open COM9, telnetcpc
holds the other end, CNCB0. com0com must be installed; telnetcpc doctor checks it.
attach makes a missing pair itself if it has the rights.

list shows all pairs, those of others too. add makes one whose first end is PORT,
if that name is free. remove removes the pair that has PORT, whoever made it, and
reports if that was not telnetcpc; no program may have it open. add and remove
need a command prompt opened by "Run as administrator".

On other systems attach makes the port itself and this command is an error.

Example:
    telnetcpc pair add COM9
`

const helpService = `telnetcpc service - an attach that Windows starts by itself

Usage:
    telnetcpc service install [flags] PORT URL
    telnetcpc service uninstall|start|stop PORT
    telnetcpc service status [PORT]

install makes a service named telnetcpc-PORT that does what
"telnetcpc attach [flags] PORT URL" does, from the start of Windows on and with
nobody logged on, and starts it. Flags and arguments are those of attach; they are
kept in the service's command line. A service that fails is started again after 1,
5 and then every 30 seconds. When the machine goes to sleep the connection is
closed; it is made again when it wakes.

The log is %ProgramData%\telnetcpc\telnetcpc-PORT.log; starts, ends, losses and
errors are in the event log too. "service run" is the command that Windows starts
for the service.

All but status need a command prompt opened by "Run as administrator". On other
systems this command is an error: use what the system has, such as systemd.

Example:
    telnetcpc service install COM9 10.0.0.5:4001
`

const helpCompletion = `telnetcpc completion - print completion for a shell

Usage:
    telnetcpc completion bash|zsh|fish

Prints a script that makes the shell complete commands and flags. To have it in
every shell, add this line:
    bash    in ~/.bashrc: source <(telnetcpc completion bash)
    zsh     in ~/.zshrc, after compinit: source <(telnetcpc completion zsh)
    fish    in ~/.config/fish/config.fish: telnetcpc completion fish | source

Example:
    source <(telnetcpc completion bash)
`

const helpVersion = `telnetcpc version - print the version

Usage:
    telnetcpc version
`

"""A program that talks by pyserial to an instrument that replies to each line with the line and its line coding.

usage: matrix.py PORT [FEATURE...]

FEATURE is what the port carries. What it does not carry must not arrive, and only such a setting may be refused.
"""

import sys
import termios

import serial

path, features = sys.argv[1], sys.argv[2:]
wrong = []


def carries(size, parity, stop):
    return (
        (size == 8 or ("6 data bits" if size == 6 else "data bits") in features)
        and (parity == "N" or "parity" in features)
        and (stop == 1 or "stop bits" in features)
    )


def far(size, parity, stop):
    """What the far end has: a part that is not carried keeps its initial value."""
    return (
        size if "data bits" in features else 8,
        parity if "parity" in features else "N",
        stop if "stop bits" in features else 1,
    )


with serial.Serial(path, 9600, timeout=60) as port:

    def ask():
        port.write(b"ask\n")
        return port.readline().decode("ascii", "replace").strip()

    def coding(size, parity, stop):
        refused = None
        for name, value in ("bytesize", size), ("parity", parity), ("stopbits", stop):
            try:
                setattr(port, name, value)
                refused = None
            except (termios.error, serial.SerialException) as e:
                refused = e
        if refused and carries(size, parity, stop):
            wrong.append("set %d%s%d: %s" % (size, parity, stop, refused))
        reply = ask()
        if size == 6 and "6 data bits" not in features:
            if " 6" in reply:
                wrong.append("6 data bits are not carried, but the far end has %r" % reply)
            return
        want = "9600 %d%s%d" % far(size, parity, stop)
        if not reply.endswith(" " + want):  # the line itself has lost bits if there are 5 data bits
            wrong.append("set %d%s%d, want %s: the far end has %r" % (size, parity, stop, want, reply))

    for size in 5, 6, 7, 8:
        for parity in "NOEMS":
            for stop in 1, 2:
                coding(size, parity, stop)
    coding(8, "N", 1)
    for baud in 300, 1200, 2400, 4800, 19200, 31250, 38400, 57600, 74880, 115200, 250000, 921600:
        port.baudrate = baud
        reply = ask()
        if reply != "ask %d 8N1" % baud:
            wrong.append("set %d: the far end has %r" % (baud, reply))
    port.baudrate = 9600
    for rtscts, xonxoff in (True, False), (False, True), (False, False):
        port.rtscts, port.xonxoff = rtscts, xonxoff
        reply = ask()
        if reply != "ask 9600 8N1":
            wrong.append("flow control %s %s: the far end has %r" % (rtscts, xonxoff, reply))

if wrong:
    sys.exit("\n".join(wrong))

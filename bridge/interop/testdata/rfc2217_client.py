"""pyserial as the client of an access server whose UART has a loop plug: RTS to CTS, DTR to DSR, DCD and RI.

usage: rfc2217_client.py URL
"""

import sys
import time

import serial
from serial import rfc2217


def becomes(what, want, now):
    end = time.monotonic() + 60
    while now() != want:
        if time.monotonic() > end:
            sys.exit("%s: got %r, want %r" % (what, now(), want))
        time.sleep(0.01)


def same(what, got, want):
    if got != want:
        sys.exit("%s: got %r, want %r" % (what, got, want))


with serial.serial_for_url(sys.argv[1], 19200, bytesize=7, parity="E", stopbits=2, timeout=60) as port:
    same("settings", (port.baudrate, port.bytesize, port.parity, port.stopbits), (19200, 7, "E", 2))
    for level in False, True, False, True:
        port.rts = level
        becomes("CTS", level, lambda: port.cts)
        port.dtr = not level
        becomes("DSR", not level, lambda: port.dsr)
        becomes("DCD", not level, lambda: port.cd)
        becomes("RI", not level, lambda: port.ri)

    port.break_condition = True
    same("the break's echo", port.read(1), b"\0")
    port.break_condition = False
    # A client that asks for it is told of a break by a notice, and who tells of it; it gets no NUL then.
    port.rfc2217_send_subnegotiation(rfc2217.SET_LINESTATE_MASK, b"\x10")
    port.break_condition = True
    becomes("the break's notice", 0x10, lambda: port._linestate)
    port.break_condition = False
    port.write(b"?")
    same("the byte behind the break", port.read(1), b"?")
    port.reset_input_buffer()
    port.reset_output_buffer()

    port.write(b"\xffseven bits\xff")
    same("seven bits", port.read(12), b"\x7fseven bits\x7f")
    port.bytesize, port.parity, port.stopbits, port.baudrate = 8, "N", 1, 115200
    payload = bytes(range(256)) * 4 + b"\xff" * 1000
    port.write(payload)
    same("all byte values", port.read(len(payload)), payload)
    port.rtscts = True
    port.write(b"held by nobody")
    same("under RTS/CTS", port.read(14), b"held by nobody")
    port.rtscts = False

    port.baudrate = 1200
    port.write(b"last words")  # and close: they go out all the same

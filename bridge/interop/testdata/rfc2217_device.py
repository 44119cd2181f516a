"""pyserial as the client of an access server whose device has no modem lines and echoes what it receives.

usage: rfc2217_device.py URL
"""

import sys

import serial


def same(what, got, want):
    if got != want:
        sys.exit("%s: got %r, want %r" % (what, got, want))


with serial.serial_for_url(sys.argv[1], 31250, stopbits=2, timeout=60) as port:
    same("lines", (port.cts, port.dsr, port.cd, port.ri), (True, True, True, False))
    payload = bytes(range(256)) * 4 + b"\xff" * 1000
    port.write(payload)
    same("all byte values", port.read(len(payload)), payload)
    for level in False, True, False, True:
        port.rts = level
        port.dtr = not level
    for baud in 300, 9600, 115200, 1000000:
        port.baudrate = baud
    port.stopbits = 1
    port.rtscts = True
    port.xonxoff = False
    port.break_condition = True
    port.break_condition = False
    port.reset_input_buffer()
    port.reset_output_buffer()
    port.write(b"again")
    same("after all that", port.read(5), b"again")
    try:
        port.bytesize = 7
    except ValueError as refused:
        same("a pty has eight data bits", "remote rejected" in str(refused), True)
    else:
        sys.exit("seven data bits on a pty were not refused")

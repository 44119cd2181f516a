"""A program that talks by pyserial to an instrument which answers each line with the line and the line coding in force.

usage: matrix.py PORT
"""

import sys

import serial
from serial.tools import list_ports

path = sys.argv[1]
wrong = []
with serial.Serial(path, 9600, timeout=60) as port:

    def ask(want):
        port.write(b"ask\n")
        answer = port.readline().decode("ascii", "replace").strip()
        if not answer.endswith(" " + want):  # what is before it lost bits at 5 data bits
            wrong.append("set %s, the far end has %r" % (want, answer))

    for bits in 5, 7, 8:
        for parity in "NOEMS":
            for stop in 1, 2:
                port.bytesize, port.parity, port.stopbits = bits, parity, stop
                ask("9600 %d%s%d" % (bits, parity, stop))
    port.bytesize, port.parity, port.stopbits = 8, "N", 1
    for baud in 300, 1200, 2400, 4800, 19200, 31250, 38400, 57600, 74880, 115200, 250000, 921600:
        port.baudrate = baud
        ask("%d 8N1" % baud)
    port.baudrate = 9600
    for rtscts, xonxoff in (True, False), (False, True), (False, False):
        port.rtscts, port.xonxoff = rtscts, xonxoff
        ask("9600 8N1")

found = [p for p in list_ports.comports() if p.vid == 0x1209]
if len(found) != 1 or found[0].product != "telnetcpc serial port" or found[0].serial_number != "ttyV0":
    wrong.append("list_ports shows %s" % [vars(p) for p in found])
if wrong:
    sys.exit("\n".join(wrong))

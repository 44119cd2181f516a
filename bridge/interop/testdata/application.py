"""A program that uses a serial port through pyserial: it writes and reads the echo.

usage: application.py PORT BAUD STOPBITS RTSCTS
"""

import sys

import serial

path, baud, stop, rtscts = sys.argv[1:]
payload = bytes(range(256)) * 8
with serial.Serial(path, int(baud), stopbits=int(stop), rtscts=rtscts == "true", timeout=60) as port:
    for _ in range(5):
        port.write(payload)
        echo = port.read(len(payload))
        if echo != payload:
            sys.exit("got %d bytes of %d back, or not the same" % (len(echo), len(payload)))

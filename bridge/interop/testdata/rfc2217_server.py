"""An RFC 2217 access server for one client at a time, around pyserial's PortManager.

usage: rfc2217_server.py DEVICE PORT
"""

import select
import socket
import sys

import serial
import serial.rfc2217


class PtySerial(serial.Serial):
    """A pty has no modem lines. These constant ones let PortManager run."""

    cts = dsr = cd = property(lambda self: True)
    ri = property(lambda self: False)
    dtr = property(lambda self: True, lambda self, value: None)
    rts = property(lambda self: True, lambda self, value: None)

    def _update_dtr_state(self):
        pass

    def _update_rts_state(self):
        pass


class Sender:
    """The object to which PortManager writes its replies."""

    def __init__(self, client):
        self.client = client

    def write(self, data):
        self.client.sendall(data)


def serve(device, client):
    manager = serial.rfc2217.PortManager(device, Sender(client))
    while True:
        readable, _, _ = select.select([client, device], [], [], 1.0)
        manager.check_modem_lines()
        if client in readable:
            data = client.recv(16384)
            if not data:
                return
            device.write(b"".join(manager.filter(data)))
        if device in readable:
            data = device.read(device.in_waiting or 1)
            client.sendall(b"".join(manager.escape(data)))


def main():
    device = PtySerial(sys.argv[1], 9600, timeout=0)
    listener = socket.create_server(("127.0.0.1", int(sys.argv[2])))
    while True:
        client, _ = listener.accept()
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            serve(device, client)
        except ConnectionError as e:
            print("client lost:", e, flush=True)
        finally:
            client.close()


main()

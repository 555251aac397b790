"""Writes the answers to the dumps of `src/state/classes` to NAME.bin, sequence and port zeroed."""

import socket
import struct
import sys

SOL_NETLINK = 270
NETLINK_GET_STRICT_CHK = 12

DUMPS = {
    "links": [(18, bytes(16) + struct.pack("=HHI", 8, 29, 8))],
    "addresses": [(22, bytes([2]) + bytes(7)), (22, bytes([10]) + bytes(7))],
    "routes": [(26, bytes([2]) + bytes(11)), (26, bytes([10]) + bytes(11))],
    "rules": [(34, bytes([2]) + bytes(11)), (34, bytes([10]) + bytes(11))],
    "nexthops": [(106, bytes(8))],
    "neighbours": [(30, bytes([2]) + bytes(11)), (30, bytes([10]) + bytes(11))],
    "proxy-neighbours": [
        (30, bytes([2]) + bytes(9) + bytes([8, 0])),
        (30, bytes([10]) + bytes(9) + bytes([8, 0])),
    ],
    "neighbour-tables": [(66, bytes(4))],
    "conntrack": [(0x101, bytes(4))],
    "conntrack-expectations": [(0x201, bytes(4))],
}
NETLINK_ROUTE = 0
NETLINK_NETFILTER = 12
NETFILTER = ("conntrack", "conntrack-expectations")


def dump(sock, kind, body):
    sock.send(struct.pack("=IHHII", 16 + len(body), kind, 0x301, 1, 0) + body)
    while True:
        data = sock.recv(1 << 20)
        while data:
            length, kind, flags, _, _ = struct.unpack_from("=IHHII", data)
            if kind == 3:
                return
            if kind == 2:
                raise OSError(-struct.unpack_from("=i", data, 16)[0])
            message = data[:length] + bytes(-length % 4)
            yield message[:8] + bytes(8) + message[16:]
            data = data[(length + 3) & ~3 :]


def flows():
    """A redirected connection, and one of FTP with an expectation; they stay open."""
    ends = []
    for asked, listens in (80, 15001), (21, 21):
        listener = socket.create_server(("127.0.0.1", listens))
        client = socket.create_connection(("127.0.0.1", asked))
        ends += [listener, client, listener.accept()[0]]
    server, client = ends[-1], ends[-2]
    for command in b"USER me\r\n", b"PORT 127,0,0,1,156,65\r\n":
        client.sendall(command)
        server.recv(64)
    return ends


ends = flows()
for name in sys.argv[1:] or DUMPS:
    dumps = DUMPS[name]
    protocol = NETLINK_NETFILTER if name in NETFILTER else NETLINK_ROUTE
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol)
    sock.setsockopt(SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1)
    with open(f"{name}.bin", "wb") as file:
        for kind, body in dumps:
            file.writelines(dump(sock, kind, body))

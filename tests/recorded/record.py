"""Writes the answers to the dumps of `src/state/classes` to NAME.bin, sequence and port zeroed.

With names, only those sections.
"""

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
    "nft-tables": [(10 << 8 | 1, bytes(4))],
    "nft-chains": [(10 << 8 | 4, bytes(4))],
    "nft-rules": [(10 << 8 | 7, bytes(4))],
    "nft-sets": [(10 << 8 | 10, bytes(4))],
    "nft-objects": [(10 << 8 | 19, bytes(4))],
    "address-labels": [(74, bytes([10]) + bytes(11))],
    "xfrm-policies": [(0x15, b"")],
    "conntrack": [(0x101, bytes(4))],
    "conntrack-expectations": [(0x201, bytes(4))],
}
# Family, command, and whether it is asked as a dump. Families are numbered by the running kernel: in a
# section their messages have the type GENERIC.
COMMANDS = {
    "mptcp-endpoints": ("mptcp_pm", 3, True),
    "mptcp-limits": ("mptcp_pm", 6, False),
    "seg6-hmac": ("SEG6", 2, True),
    "seg6-source": ("SEG6", 4, False),
    "ioam6-schemas": ("IOAM6", 6, True),
    "ioam6-namespaces": ("IOAM6", 3, True),
}
GENERIC = 0x10
NETLINK_GENERIC = 16
NETLINK_XFRM = 6
NETLINK_ROUTE = 0
NETLINK_NETFILTER = 12
NETFILTER = ("conntrack", "conntrack-expectations")
NFT_MSG_GETSETELEM = 10 << 8 | 13


def dump(sock, kind, body, flags=0x301):
    sock.send(struct.pack("=IHHII", 16 + len(body), kind, flags, 1, 0) + body)
    while True:
        data = sock.recv(1 << 20)
        while data:
            length, kind, flags, _, _ = struct.unpack_from("=IHHII", data)
            if kind == 3:
                return
            if kind == 2:
                error = -struct.unpack_from("=i", data, 16)[0]
                if error:
                    raise OSError(error)
                return
            message = data[:length] + bytes(-length % 4)
            yield message[:8] + bytes(8) + message[16:]
            data = data[(length + 3) & ~3 :]


def attributes(data):
    """Number, payload and whole bytes of each attribute."""
    while data:
        length, number = struct.unpack_from("=HH", data)
        yield number & 0x3FFF, data[4:length], data[:length] + bytes(-length % 4)
        data = data[(length + 3) & ~3 :]


def elements(sock, sets):
    """One message for each element, as `nft-set-elements` has them."""
    for nft_set in sets:
        names = b"".join(w for number, _, w in attributes(nft_set[20:]) if number in (1, 2))
        for message in dump(sock, NFT_MSG_GETSETELEM, nft_set[16:17] + bytes(3) + names):
            for number, payload, _ in attributes(message[20:]):
                for _, _, one in attributes(payload) if number == 3 else []:
                    body = message[16:20] + names + struct.pack("=HH", 4 + len(one), 3 | 1 << 15) + one
                    yield struct.pack("=IHHII", 16 + len(body), 10 << 8 | 12, 0, 0, 0) + body


def generic(name):
    """What a command of generic netlink tells."""
    family, command, is_dump = COMMANDS[name]
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_GENERIC)
    text = family.encode() + bytes(1)
    body = bytes([3, 1, 0, 0]) + struct.pack("=HH", 4 + len(text), 2) + text
    found = next(dump(sock, GENERIC, body + bytes(-len(body) % 4), 5))
    number = next(payload for at, payload, _ in attributes(found[20:]) if at == 1)
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_GENERIC)
    (number,) = struct.unpack("=H", number)
    for message in dump(sock, number, bytes([command, 1, 0, 0]), 0x301 if is_dump else 5):
        yield message[:4] + struct.pack("=H", GENERIC) + message[6:]


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
for name in sys.argv[1:] or [*DUMPS, *COMMANDS]:
    if name in COMMANDS:
        with open(f"{name}.bin", "wb") as file:
            file.writelines(generic(name))
        continue
    dumps = DUMPS[name]
    protocol = NETLINK_NETFILTER if name in NETFILTER or name.startswith("nft-") else NETLINK_ROUTE
    if name.startswith("xfrm-"):
        protocol = NETLINK_XFRM
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol)
    sock.setsockopt(SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1)
    if name == "nft-sets":
        sets = [message for kind, body in dumps for message in dump(sock, kind, body)]
        with open("nft-set-elements.bin", "wb") as file:
            file.writelines(elements(sock, sets))
    with open(f"{name}.bin", "wb") as file:
        for kind, body in dumps:
            file.writelines(dump(sock, kind, body))

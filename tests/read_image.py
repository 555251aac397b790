#!/usr/bin/env python3
"""Reads a netckpt image by docs/image-format.md alone, and prints what is in it as JSON.

It shares nothing with the program: if the two disagree, one of them or the document is wrong.
Needs Python 3.9 and the `zstd` command.  Usage: read_image.py IMAGE
"""

import hashlib
import json
import re
import struct
import subprocess
import sys
import threading

MAGIC = b"NETCKPT\0"
HEADER = struct.Struct("<8sII")
TRAILER = 32
MAX_FILE = 256 << 20
MAX_MANIFEST = 1 << 20
MAX_SECTIONS = 512
MAX_SECTION = 512 << 20
MAX_TOTAL = 1 << 30
NAME = re.compile(r"([a-z0-9-]{1,64}/)?[a-z0-9-]{1,64}")


class Refused(Exception):
    pass


def demand(holds, why):
    if not holds:
        raise Refused(why)


def read(path):
    with open(path, "rb") as file:
        content = file.read(MAX_FILE + 1)
    demand(len(content) <= MAX_FILE, "the file is too large")
    demand(content[:8] == MAGIC, "not a netckpt image")
    demand(len(content) >= HEADER.size, "the header is cut")
    _, version, length = HEADER.unpack_from(content)
    demand(version == 1, f"format version {version} is not known")
    demand(length <= MAX_MANIFEST, "the manifest is too long")
    demand(len(content) >= HEADER.size + length + TRAILER, "the file is cut")
    content, trailer = content[:-TRAILER], content[-TRAILER:]
    demand(hashlib.sha256(content).digest() == trailer, "the SHA-256 does not fit")
    manifest = json.loads(content[HEADER.size : HEADER.size + length].decode("utf-8"))
    check_table(manifest["sections"], len(content) - HEADER.size - length)
    at = HEADER.size + length
    sections = {}
    for section in manifest["sections"]:
        end = at + section["stored"]
        sections[section["name"]] = unpack(content[at:end], section["size"])
        at = end
    return manifest, sections


def check_table(table, available):
    demand(len(table) <= MAX_SECTIONS, "too many sections")
    names = [section["name"] for section in table]
    demand(len(set(names)) == len(names), "a section's name comes twice")
    for section in table:
        demand(NAME.fullmatch(section["name"]), "a section's name is not allowed")
        for field in ("size", "stored"):
            number = section[field]
            demand(isinstance(number, int) and 0 <= number < 1 << 64, f"{field} is no length")
        demand(section["size"] <= MAX_SECTION, "a section is too large")
    demand(sum(section["size"] for section in table) <= MAX_TOTAL, "the sections are too large")
    demand(sum(section["stored"] for section in table) == available, "the sections do not fill the file")


def unpack(frame, size):
    """One zstd frame. The output is read only up to the size that is listed."""
    command = ["zstd", "--decompress", "--stdout", "--quiet", "--memory=8MB"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as zstd:
        def feed():
            try:
                zstd.stdin.write(frame)
                zstd.stdin.close()
            except BrokenPipeError:
                pass  # it has seen enough

        feeder = threading.Thread(target=feed)
        feeder.start()
        raw = zstd.stdout.read(size + 1)
        if len(raw) > size:
            zstd.kill()
        feeder.join()
    demand(len(raw) == size and zstd.returncode == 0, "a section is not what is listed")
    return raw


def messages(raw):
    """Types of the netlink messages of a section."""
    types, at = [], 0
    while at < len(raw):
        demand(len(raw) - at >= 16, "a message's header is cut")
        length, kind, _, sequence, port = struct.unpack_from("<IHHII", raw, at)
        demand(16 <= length <= len(raw) - at, "a message's length is wrong")
        demand(sequence == 0 and port == 0, "sequence number and port are not zero")
        types.append(kind)
        at += (length + 3) & ~3
    return types


def sysctls(raw):
    """Path and value of each sysctl."""
    demand(raw[-1:] in (b"", b"\0"), "the last value has no end")
    parts = raw.split(b"\0")[:-1]
    demand(len(parts) % 2 == 0, "a path has no value")
    return {path.decode(): value.decode() for path, value in zip(parts[::2], parts[1::2])}


def tell(manifest, sections):
    told = {}
    for name, raw in sections.items():
        told[name] = {"sha256": hashlib.sha256(raw).hexdigest()}
        if name.split("/")[-1] == "sysctls":
            told[name]["sysctls"] = sysctls(raw)
        else:
            told[name]["messages"] = messages(raw)
    return {"manifest": manifest, "sections": told}


def main():
    try:
        manifest, sections = read(sys.argv[1])
        json.dump(tell(manifest, sections), sys.stdout, indent=1)
        print()
    except (Refused, ValueError, KeyError, TypeError) as why:
        sys.exit(f"{sys.argv[1]}: {why}")


if __name__ == "__main__":
    main()

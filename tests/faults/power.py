#!/usr/bin/env python3
"""power.py JOURNAL SEED: leaves files as a machine has them whose power failed.

The journal (`power.c`) says what each change of a file replaced. What was synced stays. Of what was not, any sector of 512
bytes is as it was after any of the changes that it had, and any name in a folder that was not synced may be the old one; with
SEED 0 all of it is lost. Prints how much of it there was.
"""

import collections
import json
import os
import pathlib
import random
import struct
import sys

SECTOR = 512
RECORD = struct.Struct("<7Q")
Change = collections.namedtuple("Change", "kind inode offset size before path other")


def read(journal):
    data, place = journal.read_bytes(), 0
    while place + RECORD.size <= len(data):
        kind, inode, offset, size, length, path, other = RECORD.unpack_from(data, place)
        place += RECORD.size
        texts = []
        for count in (path, other):
            texts.append(data[place:place + count].decode())
            place += count
        before = data[place:place + length]
        place += length
        if len(before) == length:
            yield Change(chr(kind), inode, offset, size, before, *texts)


def unsynced(changes):
    """The changes of each file, and of names, after which there was no sync; oldest first."""
    files, names = collections.defaultdict(list), []
    for change in changes:
        if change.kind == "W":
            files[change.inode].append(change)
        elif change.kind == "S":
            files.pop(change.inode, None)
        elif change.kind == "D":
            names = [name for name in names if os.path.dirname(name.path) != change.path]
        else:
            names.append(change)
    return files, names


def lose(path, changes, chance):
    """Takes back, sector by sector, so many of the newest changes."""
    data = bytearray(path.read_bytes())
    # As long as it ever was: what was cut off comes back too.
    data.extend(bytes(max(0, max(change.offset + len(change.before) for change in changes) - len(data))))
    touched = collections.defaultdict(list)
    for change in changes:
        end = change.offset + int(change.other)
        for sector in range(change.offset // SECTOR, (end + SECTOR - 1) // SECTOR):
            touched[sector].append(change)
    size = min([change.size for change in changes])
    grown = 0
    for sector, those in touched.items():
        start, end = sector * SECTOR, (sector + 1) * SECTOR
        lost = chance.randint(0, len(those)) if chance else len(those)
        for change in list(reversed(those))[:lost]:
            until = change.offset + int(change.other)
            for place in range(max(start, change.offset), min(end, until, len(data))):
                inside = place - change.offset
                data[place] = change.before[inside] if inside < len(change.before) else 0
        if lost < len(those):
            kept = those[len(those) - lost - 1]
            grown = max(grown, min(end, kept.offset + int(kept.other)))
    # What the file is long: as at the oldest change, or as far as something new of it is there.
    wanted = max(size, grown)
    path.write_bytes(bytes(data[:wanted]) + bytes(max(0, wanted - len(data))))
    return len(touched)


def take_back(name):
    path = pathlib.Path(name.path)
    if name.kind == "C":
        path.unlink(missing_ok=True)
    elif name.kind == "U":
        if not path.exists():
            os.link(name.other, path)
    else:
        before, kept = name.other.split("\n")
        if path.exists():
            os.replace(path, before)
        if kept:
            os.link(kept, path)


def main():
    journal, seed = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    chance = random.Random(seed) if seed else None
    changes = list(read(journal))
    files, names = unsynced(changes)
    inodes = {}
    folder = pathlib.Path(os.environ["POWER_FOLDER"])
    for path in folder.rglob("*"):
        if path.is_file() and not path.name.endswith("-shm"):
            inodes[path.stat().st_ino] = path
    sectors = sum(lose(inodes[inode], those, chance) for inode, those in files.items() if inode in inodes)
    lost = 0
    for name in reversed(names):
        # Names are taken back from the newest on: which of them were written is one number.
        if chance and chance.random() < 0.5:
            break
        take_back(name)
        lost += 1
    # What is there now is what the disk has.
    for shared in folder.rglob("*-shm"):
        shared.unlink()
    for kept in journal.parent.glob(journal.name + ".kept-*"):
        kept.unlink()
    journal.write_bytes(b"")
    print(json.dumps({"changes": len(changes), "sectors_unsynced": sectors, "names_lost": lost}))


main()

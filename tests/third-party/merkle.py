"""Verifies the tree of a tlog-tiles directory with pymerkle, a Merkle tree that knows nothing of ours.

It claims the tree alone: that the entries have the checkpoint's root, that older checkpoints are prefixes and that
proof files lead to the root. It reads no tiles and checks no signatures.

usage: merkle.py [-older FILE]... [-proof FILE]... DIRECTORY
"""

import base64
import struct
import sys
from pathlib import Path

from pymerkle import InclusionProof, InmemoryTree, InvalidProof, verify_consistency, verify_inclusion


def fault(text):
    print(f"fault: {text}")
    sys.exit(1)


def opened(text):
    lines = text.split("\n")
    return int(lines[1]), base64.b64decode(lines[2])


def bundle_name(index, width):
    groups = [f"{index % 1000:03}"]
    while index >= 1000:
        index //= 1000
        groups.insert(0, f"x{index % 1000:03}")
    return "/".join(groups) + (f".p/{width}" if width < 256 else "")


def entries(folder, size):
    for first in range(0, size, 256):
        width = min(256, size - first)
        file = folder / "tile" / "entries" / bundle_name(first // 256, width)
        if not file.exists():
            fault(f"{file.name} is missing")
        data = file.read_bytes()
        at = 0
        for place in range(first, first + width):
            if len(data) < at + 2:
                fault(f"entry {place} is missing")
            (length,) = struct.unpack_from(">H", data, at)
            entry = data[at + 2 : at + 2 + length]
            if len(entry) != length:
                fault(f"entry {place} is cut")
            yield entry
            at += 2 + length
        if at != len(data):
            fault(f"{file.name} is too long")


def main():
    older, proofs = [], []
    arguments = sys.argv[1:]
    while len(arguments) > 1:
        {"-older": older, "-proof": proofs}[arguments[0]].append(Path(arguments[1]))
        arguments = arguments[2:]
    folder = Path(arguments[0])
    try:
        size, root = opened((folder / "checkpoint").read_text())
    except ValueError:
        fault("the checkpoint cannot be read")
    tree = InmemoryTree(algorithm="sha256")
    for entry in entries(folder, size):
        tree.append_entry(entry)
    if tree.get_root() != root:
        fault("the entries are not those of the checkpoint")
    for file in older:
        before, before_root = opened(file.read_text())
        if before > size:
            fault(f"{file} covers more entries than there are")
        try:
            proof = tree.prove_consistency(before, size)
            verify_consistency(before_root, root, proof, prior_size=before, later_size=size)
        except InvalidProof as error:
            fault(f"{file} is no prefix: {error}")
    for file in proofs:
        head, checkpoint = file.read_text().split("\n\n", 1)
        lines = head.split("\n")
        index = int(lines[1].removeprefix("index "))
        covered, covered_root = opened(checkpoint)
        leaf = tree.get_leaf(index + 1)
        # Which side each hash goes on follows from the index and the size; the hashes are the file's own.
        sides = tree.prove_inclusion(index + 1, covered).rule
        path = [leaf] + [base64.b64decode(line) for line in lines[2:]]
        proof = InclusionProof("sha256", True, covered, index + 1, sides, path)
        try:
            verify_inclusion(leaf, covered_root, proof, index=index + 1, size=covered)
        except InvalidProof as error:
            fault(f"{file} does not lead to the root: {error}")
    print(f"ok: {size} entries")


main()

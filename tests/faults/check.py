#!/usr/bin/env python3
"""Holds what clients received against what the ledger says. Shares no code with the gateway.

check.py FOLDER reads FOLDER/account.jsonl (a line for every request of every client), ledger.ndjson (an export, leaves verbatim),
inputs.json (logs, personal values, spans in which nothing could be recorded) and policies/agreements. It prints what it
counted, or what is wrong, and then its exit status is 1.

  I1   a record that came has a release with the same leaf hash at the place its receipt names, of its salted digest
  I2   at each release about consent, a consent of that person stands; and a question asked after something was
       acknowledged comes later in the ledger than that
  I3   places are dense, and every checkpoint that a client was ever given is a prefix of the ledger
  I4   no log, no refusal and no leaf names anybody
  I5   every refusal is application/problem+json with a type and a code
  I6   a record has no other items than its agreement lists, and no more than its release says
  I7   every release in the ledger was received, or its question was broken off by the fault
  I9   nothing that was asked and answered within such a span came with a record
  I10  every intent has one end
"""

import base64
import bisect
import collections
import hashlib
import json
import pathlib
import sys
import tomllib

FLOWS = {"SWR": "gm-safe-and-well-referral", "9": "gm-fire-prevention-over-65s"}


def node(left, right):
    return hashlib.sha256(b"\x01" + left + right).digest()


class Tree:
    """RFC 6962 section 2.1, grown leaf by leaf."""

    def __init__(self):
        self.size = 0
        self.peaks = []

    def push(self, leaf):
        digest = hashlib.sha256(b"\x00" + leaf).digest()
        peak, size = digest, self.size
        while size % 2:
            peak = node(self.peaks.pop(), peak)
            size //= 2
        self.peaks.append(peak)
        self.size += 1
        return digest

    def root(self):
        root = None
        for peak in reversed(self.peaks):
            root = peak if root is None else node(peak, root)
        return root or hashlib.sha256(b"").digest()


def allowed_items(folder):
    items = {}
    for file in (folder / "policies/agreements").glob("*.toml"):
        agreement = tomllib.loads(file.read_text())
        items[agreement["id"]] = {item["item"] for flow in agreement["flows"] for item in flow["items"]}
    return items


def check(folder):
    wrong = []
    inputs = json.loads((folder / "inputs.json").read_text())
    account = [json.loads(line) for line in (folder / "account.jsonl").read_text().splitlines()]
    for line in account:
        if "text" in line:
            line["record"] = json.loads(line["text"])["record"]
    leaves = [line for line in (folder / "ledger.ndjson").read_bytes().split(b"\n") if line]
    entries = [json.loads(leaf) for leaf in leaves]

    # I3
    tree, hashes, roots = Tree(), [], {}
    wanted = collections.defaultdict(set)
    for line in account:
        receipt = line.get("receipt")
        if receipt:
            _, size, root = receipt["checkpoint"].split("\n")[:3]
            wanted[int(size)].add(base64.b64decode(root))
    for place, (leaf, entry) in enumerate(zip(leaves, entries)):
        if entry["seq"] != place:
            wrong.append(f"I3 the entry at {place} says {entry['seq']}")
        hashes.append(tree.push(leaf).hex())
        if tree.size in wanted:
            roots[tree.size] = tree.root()
    for size, given in wanted.items():
        if size > len(leaves):
            wrong.append(f"I3 a client has a checkpoint over {size} entries, and there are {len(leaves)}")
        elif given != {roots[size]}:
            wrong.append(f"I3 a client's checkpoint over {size} entries is of another ledger")

    # The ledger by itself: I2, I10.
    intents, ends, releases = {}, collections.Counter(), {}
    standing = collections.defaultdict(set)
    for entry in entries:
        kind, body = entry["kind"], entry
        if kind == "intent":
            intents[body["decision_id"]] = entry
        elif kind in ("release", "closure"):
            ends[body["decision_id"]] += 1
            if kind == "release":
                releases[body["decision_id"]] = entry
                needs_consent = intents.get(body["decision_id"], {}).get("purpose") == "safe-and-well-referral"
                if needs_consent and not any(standing[subject] for subject in body["subjects"]):
                    wrong.append(f"I2 the release at {entry['seq']} has no consent that stands")
        elif kind == "consent_recorded":
            standing[body["subject"]].add(body["consent_id"])
        elif kind == "consent_withdrawn":
            standing[body["subject"]].discard(body["consent_id"])
    for decision in intents:
        if ends[decision] != 1:
            wrong.append(f"I10 {decision} has {ends[decision]} ends")

    # The account: I1, I2, I5, I6, I9.
    items = allowed_items(folder)
    acknowledged = sorted(
        (line["answered_us"], line["receipt"]["log_position"]) for line in account if line.get("receipt")
    )
    newest, upto = [], -1
    for _, place in acknowledged:
        upto = max(upto, place)
        newest.append(upto)
    times = [at for at, _ in acknowledged]
    received, refused, failed = 0, collections.Counter(), collections.Counter()
    got = set()
    for line in account:
        status = line.get("status")
        if status is None:
            failed[line["failed"]] += 1
            continue
        receipt = line.get("receipt")
        if receipt and receipt["log_position"] < len(hashes):
            if hashes[receipt["log_position"]] != receipt["leaf_hash"]:
                wrong.append(f"I1 the receipt at {receipt['log_position']} names another leaf")
            before = bisect.bisect_left(times, line["sent_us"])
            if before and receipt["log_position"] <= newest[before - 1]:
                wrong.append(f"I2 what was asked later is at {receipt['log_position']}, no later than {newest[before - 1]}")
        if "record" in line:
            received += 1
            decision = receipt["decision_id"]
            got.add(decision)
            release = releases.get(decision)
            if release is None or release["seq"] != receipt["log_position"]:
                wrong.append(f"I1 the record of {decision} has no release")
                continue
            salted = receipt["record_salt"] + json.dumps(line["record"], separators=(",", ":"), ensure_ascii=False)
            if hashlib.sha256(salted.encode()).hexdigest() != release["record_sha256"]:
                wrong.append(f"I1 the record of {decision} is not the one that was released")
            listed = next(items[flow] for start, flow in FLOWS.items() if line["person"].startswith(start))
            if not set(line["record"]) <= listed or not set(line["record"]) <= {item.split(":")[0] for item in release["items"]}:
                wrong.append(f"I6 {decision} came with {sorted(line['record'])}")
            for span in inputs["unrecordable"]:
                if span["from_us"] <= line["sent_us"] and line["answered_us"] <= span["until_us"]:
                    wrong.append(f"I9 {decision} came while nothing could be recorded")
        elif status >= 400:
            body = line["body"]
            code = body.get("code") if isinstance(body, dict) else None
            refused[f"{status} {code}"] += 1
            if not line["media_type"].startswith("application/problem+json") or not code or not body.get("type"):
                wrong.append(f"I5 status {status} came as {line['media_type']!r}: {str(body)[:100]}")

    # I7: what was released and not received was on its way when its client's request failed.
    lost = [decision for decision in releases if decision not in got]
    broken = sum(failed.values()) + inputs["unnoticed"]
    if len(lost) > broken:
        wrong.append(f"I7 {len(lost)} releases were not received, and {broken} requests were broken off")

    # I4
    said = [json.dumps(line["body"], ensure_ascii=False) for line in account if "record" not in line and "body" in line and line.get("status", 0) >= 400]
    texts = {"a refusal": "\n".join(said), "a leaf": b"\n".join(leaves).decode()}
    texts |= {name: pathlib.Path(name).read_text() for name in inputs["logs"]}
    for where, text in texts.items():
        for value in inputs["personal"]:
            if value in text:
                wrong.append(f"I4 {where} names somebody: {value}")

    asked = sum(line["op"] == "ask" for line in account)
    counts = {
        "requests": len(account), "asked": asked, "received": received, "withdrawals":
        sum(line["op"] == "withdraw" and line.get("status") == 200 for line in account), "refused": dict(refused),
        "unanswered": dict(failed), "entries": len(leaves), "released_unreceived": len(lost),
    }
    return counts, wrong


def main():
    counts, wrong = check(pathlib.Path(sys.argv[1]))
    if wrong:
        print("\n".join(wrong[:20]))
        print(f"{len(wrong)} things are wrong")
        sys.exit(1)
    print(json.dumps(counts))


if __name__ == "__main__":
    main()

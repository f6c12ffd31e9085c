#!/usr/bin/env python3
"""Holds what clients received against what the ledger says. Shares no code with the gateway.

check.py FOLDER reads FOLDER/account.jsonl (a line for every request of every client), ledger.ndjson (an export, leaves verbatim),
inputs.json (logs, personal values, spans in which nothing could be recorded) and policies/agreements. It prints what it
counted, or what is wrong, and then its exit status is 1.

  I1   a record that came has a release with the same leaf hash at the place its receipt names, of its salted digest
  I2   at each release about consent, a consent of that person stands, and at each its agreement is active; a question asked after
       something was acknowledged comes later in the ledger than that, and brings no record between the suspension of its
       agreement and what lifts it
  I3   places are dense, and every checkpoint that a client was ever given is a prefix of the ledger
  I4   no log, no refusal and no leaf names anybody
  I5   every refusal is application/problem+json with a type and a code
  I6   a record has no other items than its agreement lists, and no more than its release says
  I7   sums agree: every release, consent and withdrawal in the ledger was received or acknowledged, and every question that
       is in it was asked by somebody, but for as many as were broken off by the fault
  I8   memory, descriptors and threads of every gateway are back to what they were before, within a tenth, in a minute
  I9   nothing that was asked and answered within such a span came with a record
  I10  every intent has one end
"""

import base64
import bisect
import collections
import hashlib
import json
import pathlib
import re
import sys
import tomllib

FLOWS = {
    "SWR": "gm-safe-and-well-referral", "GEN": "gm-safe-and-well-referral", "9": "gm-fire-prevention-over-65s",
}


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


def raced(account, entries, intents, releases):
    """How withdrawals and questions met: how many withdrawals came between an INTENT and its end, and for how long after one was
    acknowledged a record still arrived that had been released before it."""
    ends = {entry["decision_id"]: entry for entry in entries if entry["kind"] in ("release", "closure")}
    withdrawn = {entry["consent_id"]: entry for entry in entries if entry["kind"] == "consent_withdrawn"}
    places = sorted((entry["seq"], entry["subject"]) for entry in withdrawn.values())
    between = set()
    for decision, intent in intents.items():
        end = ends.get(decision)
        if end:
            first, last = bisect.bisect(places, (intent["seq"], "")), bisect.bisect(places, (end["seq"], ""))
            between |= {place for place, subject in places[first:last] if subject == intent["subject"]}
    told = {line["consent"]: line["answered_us"] for line in account if line["op"] == "withdraw" and line.get("status") == 200}
    latest = 0
    for line in account:
        if "record" in line:
            for consent in releases.get(line["receipt"]["decision_id"], {}).get("consents", []):
                latest = max(latest, line["answered_us"] - told.get(consent, line["answered_us"]))
    return {"withdrawn_before_the_end": len(between), "released_before_came_after_us_max": latest}


def agreement_of(intents, decision):
    return intents.get(decision, {}).get("agreement", {}).get("agreement")


def suspended(account, moves, entries, intents):
    """How suspensions and questions met: how many came between an INTENT and its end, how many questions were refused while one
    was in force; and what brought a record while one was."""
    ends = {entry["decision_id"]: entry["seq"] for entry in entries if entry["kind"] in ("release", "closure")}
    places = sorted(
        (entry["seq"], stamp["agreement"]) for entry in entries if entry["kind"] == "policy_set_activated"
        for stamp in entry["agreements"] if stamp["status"] == "suspended"
    )
    between = set()
    for decision, intent in intents.items():
        first, last = (bisect.bisect(places, (seq, "")) for seq in (intent["seq"], ends.get(decision, 0)))
        between |= {place for place, agreement in places[first:last] if agreement == agreement_of(intents, decision)}
    spans, begun = collections.defaultdict(list), {}
    for line in moves:
        if line["op"] == "suspend":
            begun[line["agreement"]] = line["answered_us"]
        else:
            spans[line["agreement"]].append((begun.pop(line["agreement"]), line["sent_us"]))
    refused, came = 0, []
    for line in account:
        if line["op"] != "ask":
            continue
        agreement = next(flow for start, flow in FLOWS.items() if line["person"].startswith(start))
        place = bisect.bisect(spans[agreement], (line["sent_us"], float("inf"))) - 1
        if place >= 0 and spans[agreement][place][0] <= line["sent_us"] and line["answered_us"] <= spans[agreement][place][1]:
            refused += line.get("status") == 403
            if "record" in line:
                came.append(f"I2 the record of {line['receipt']['decision_id']} came while its agreement was suspended")
    return {"suspended_before_the_end": len(between), "refused_while_suspended": refused}, came


def check(folder):
    wrong = []
    inputs = json.loads((folder / "inputs.json").read_text())
    account = [json.loads(line) for line in (folder / "account.jsonl").read_text().splitlines()]
    moves = [line for line in account if line["op"] in ("suspend", "resume")]
    account = [line for line in account if line["op"] not in ("suspend", "resume")]
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
    statuses = {}
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
                agreement = agreement_of(intents, body["decision_id"])
                if statuses.get(agreement) != "active":
                    wrong.append(f"I2 the release at {entry['seq']} is of an agreement that is {statuses.get(agreement)}")
        elif kind == "policy_set_activated":
            statuses = {stamp["agreement"]: stamp["status"] for stamp in body["agreements"]}
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
                if span.get("port") in (None, line["port"]) and span["from_us"] <= line["sent_us"] and line["answered_us"] <= span["until_us"]:
                    wrong.append(f"I9 {decision} came while nothing could be recorded")
        elif status >= 400:
            body = line["body"]
            code = body.get("code") if isinstance(body, dict) else None
            refused[f"{status} {code}"] += 1
            if not line["media_type"].startswith("application/problem+json") or not code or not body.get("type"):
                wrong.append(f"I5 status {status} came as {line['media_type']!r}: {str(body)[:100]}")

    # I7: what was released and not received was on its way when its client's request failed, or when its end was not heard
    # of in time: an answer of 503 or 504 says that it may have been recorded.
    lost = [decision for decision in releases if decision not in got]
    broken = sum(failed.values()) + inputs["unnoticed"]
    unanswered = sum(refused[code] for code in refused if code.startswith(("503", "504")))
    if len(lost) > broken + unanswered:
        wrong.append(f"I7 {len(lost)} releases were not received, {broken} requests were broken off and {unanswered} not settled")
    for what, kind, done in (("consents", "consent_recorded", ("consent", 201)), ("withdrawals", "consent_withdrawn", ("withdraw", 200))):
        told = sum((line["op"], line.get("status")) == done for line in account)
        there = sum(entry["kind"] == kind for entry in entries)
        # A refusal with 503 says that it may have been recorded.
        if not told <= there <= told + broken + unanswered:
            wrong.append(f"I7 {told} {what} were acknowledged, {there} are in the ledger")
    asked = sum(line["op"] == "ask" for line in account) + inputs["unnoticed"]
    decided = sum(entry["kind"] in ("intent", "refusal", "referral") for entry in entries)
    if decided > asked:
        wrong.append(f"I7 {asked} questions were asked, {decided} are in the ledger")

    # I8. What is small may be one more.
    slack = {"memory_kib": 8_192, "descriptors": 2, "threads": 1}
    grown = collections.Counter()
    for usage in inputs["usage"]:
        for what, more in slack.items():
            before, after = usage["before"][what], usage["after"][what]
            grown[what] = max(grown[what], after - before)
            if after > before + before // 10 + more:
                wrong.append(f"I8 {what} went from {before} to {after}")

    races = raced(account, entries, intents, releases)
    stopped, came = suspended(account, moves, entries, intents)
    wrong.extend(came)
    if moves:
        races |= stopped

    # I4
    said = [json.dumps(line["body"], ensure_ascii=False) for line in account if "record" not in line and "body" in line and line.get("status", 0) >= 400]
    texts = {"a refusal": "\n".join(said), "a leaf": b"\n".join(leaves).decode()}
    texts |= {name: pathlib.Path(name).read_text() for name in inputs["logs"]}
    # Digests and signatures have any five letters in them now and then.
    texts = {where: re.sub(r"[A-Za-z0-9+/=]{32,}", "", text) for where, text in texts.items()}
    for where, text in texts.items():
        for value in inputs["personal"]:
            if value in text:
                wrong.append(f"I4 {where} names somebody: {value}")

    counts = {
        "requests": len(account), "asked": sum(line["op"] == "ask" for line in account), "received": received, "withdrawals":
        sum(line["op"] == "withdraw" and line.get("status") == 200 for line in account), "refused": dict(refused),
        "unanswered": dict(failed), "entries": len(leaves), "released_unreceived": len(lost),
        "grown": dict(grown), **races,
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

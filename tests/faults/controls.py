#!/usr/bin/env python3
"""controls.py FOLDER: plants one fault after another in a copy of what check.py reads, and has it find each.

A checker that finds nothing says nothing. Exit status 1 when one is not found.
"""

import base64
import copy
import json
import pathlib
import shutil
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import check


def with_record(account):
    return next(line for line in account if "text" in line)


def of_release(account, entries):
    decision = with_record(account)["receipt"]["decision_id"]
    return next(entry for entry in entries if entry["kind"] == "release" and entry["decision_id"] == decision)


def no_release(account, entries, inputs):
    entries.remove(of_release(account, entries))


def another_record(account, entries, inputs):
    line = with_record(account)
    line["text"] = line["text"].replace('"record":{', '"record":{"person.gender":"other",', 1)


def another_item(account, entries, inputs):
    line = with_record(account)
    line["text"] = line["text"].replace('"record":{', '"record":{"person.nhs_number":"1",', 1)


def after_the_withdrawal(account, entries, inputs):
    release = next(entry for entry in entries if entry["kind"] == "release" and entry["consents"])
    given = [entry for entry in entries if entry["kind"] == "consent_recorded" and entry["subject"] in release["subjects"]]
    for entry in given:
        entry["kind"] = "consent_withdrawn"


def after_the_suspension(account, entries, inputs):
    release = of_release(account, entries)
    put = next(entry for entry in reversed(entries[:release["seq"]]) if entry["kind"] == "policy_set_activated")
    for stamp in put["agreements"]:
        stamp["status"] = "suspended"


def told_of_the_suspension(account, entries, inputs):
    line = with_record(account)
    agreement = next(entry["agreement"]["agreement"] for entry in entries if entry["kind"] == "intent"
                     and entry["decision_id"] == line["receipt"]["decision_id"])
    at, until = line["sent_us"], line["answered_us"]
    account.append({"op": "suspend", "agreement": agreement, "sent_us": at - 1, "answered_us": at})
    account.append({"op": "resume", "agreement": agreement, "sent_us": until, "answered_us": until + 1})


def earlier_than_acknowledged(account, entries, inputs):
    first = min((line for line in account if line.get("receipt")), key=lambda line: line["receipt"]["log_position"])
    first["sent_us"] = max(line["answered_us"] for line in account) + 1


def another_history(account, entries, inputs):
    receipt = with_record(account)["receipt"]
    name, size, _, rest = receipt["checkpoint"].split("\n", 3)
    receipt["checkpoint"] = "\n".join([name, size, base64.b64encode(bytes(32)).decode(), rest])


def lost_tail(account, entries, inputs):
    del entries[-(len(entries) // 2):]


def somebody_named(account, entries, inputs):
    next(line for line in account if line.get("status", 0) >= 400)["body"]["detail"] = inputs["personal"][0]


def bare_error(account, entries, inputs):
    line = next(line for line in account if line.get("status", 0) >= 400)
    line["media_type"] = "text/plain"


def unreceived(account, entries, inputs):
    for line in [line for line in account if "text" in line]:
        account.remove(line)


def consent_of_nobody(account, entries, inputs):
    for line in [line for line in account if line["op"] == "consent"]:
        account.remove(line)


def questions_of_nobody(account, entries, inputs):
    for line in [line for line in account if line["op"] == "ask" and "text" not in line]:
        account.remove(line)


def memory_held(account, entries, inputs):
    inputs["usage"][0]["after"]["memory_kib"] += 100_000


def descriptors_held(account, entries, inputs):
    inputs["usage"][-1]["after"]["descriptors"] += 30


def threads_held(account, entries, inputs):
    inputs["usage"][0]["after"]["threads"] += 10


def while_unrecordable(account, entries, inputs):
    line = with_record(account)
    inputs["unrecordable"].append({"from_us": line["sent_us"], "until_us": line["answered_us"]})


def no_end(account, entries, inputs):
    entries.remove(next(entry for entry in entries if entry["kind"] in ("release", "closure")))


PLANTED = {
    no_release: "I1", another_record: "I1", after_the_withdrawal: "I2",
    after_the_suspension: "I2", told_of_the_suspension: "I2", earlier_than_acknowledged: "I2",
    another_history: "I3", lost_tail: "I3", somebody_named: "I4", bare_error: "I5", another_item: "I6",
    unreceived: "I7", consent_of_nobody: "I7", questions_of_nobody: "I7", memory_held: "I8", descriptors_held: "I8",
    threads_held: "I8", while_unrecordable: "I9", no_end: "I10",
}


def main():
    folder = pathlib.Path(sys.argv[1])
    _, wrong = check.check(folder)
    assert not wrong, wrong
    account = [json.loads(line) for line in (folder / "account.jsonl").read_text().splitlines()]
    entries = [json.loads(line) for line in (folder / "ledger.ndjson").read_bytes().split(b"\n") if line]
    inputs = json.loads((folder / "inputs.json").read_text())
    missed = []
    for plant, tag in PLANTED.items():
        with tempfile.TemporaryDirectory() as name:
            planted = pathlib.Path(name)
            shutil.copytree(folder / "policies", planted / "policies")
            changed = copy.deepcopy((account, entries, inputs))
            plant(*changed)
            (planted / "account.jsonl").write_text("".join(json.dumps(line) + "\n" for line in changed[0]))
            lines = [json.dumps(entry, separators=(",", ":"), sort_keys=True, ensure_ascii=False) for entry in changed[1]]
            (planted / "ledger.ndjson").write_text("".join(line + "\n" for line in lines))
            (planted / "inputs.json").write_text(json.dumps(changed[2]))
            _, wrong = check.check(planted)
            if not any(one.startswith(tag + " ") for one in wrong):
                missed.append(f"{plant.__name__} is not found by {tag}: {wrong[:3]}")
    print("\n".join(missed) or f"{len(PLANTED)} planted faults found")
    sys.exit(bool(missed))


main()

"""Reads exports as other people's programs do, and compares them with the leaves that they are of.

Usage: exports.py LEAVES.ndjson LEDGER.parquet EVENTS.ocsf EVENTS.fhir
"""

import hashlib
import json
import sys

import duckdb
import pandas
from fhir.resources.R4B.auditevent import AuditEvent
from py_ocsf_models.events.base_event import SeverityID

LISTS = {"subjects", "asked", "items", "reasons"}
OCSF_REQUIRED = [
    "activity_id", "actor", "api", "category_uid", "class_uid", "metadata", "severity_id", "src_endpoint", "time", "type_uid",
]


def fail(what):
    print(f"fault: {what}")
    sys.exit(1)


def main(leaves_path, parquet_path, ocsf_path, fhir_path):
    leaves = [line.rstrip(b"\n") for line in open(leaves_path, "rb")]
    entries = [json.loads(leaf) for leaf in leaves]

    # Parquet, by DuckDB and by pandas: every row is the leaf that it says, and the types are what they should be.
    rows = duckdb.sql(f"SELECT * REPLACE (epoch_us(written_at) AS written_at) FROM read_parquet('{parquet_path}') ORDER BY seq").fetchall()
    names = [column[0] for column in duckdb.sql(f"SELECT * FROM read_parquet('{parquet_path}')").description]
    types = {row[0]: row[1] for row in duckdb.sql(f"DESCRIBE SELECT * FROM read_parquet('{parquet_path}')").fetchall()}
    expected = {"seq": "BIGINT", "written_at": "TIMESTAMP WITH TIME ZONE", "kind": "VARCHAR", "agreement_version": "INTEGER", "leaf_hash": "BLOB"}
    expected |= {name: "VARCHAR[]" for name in LISTS}
    for name, kind in expected.items():
        if types[name] != kind:
            fail(f"column {name} is {types[name]} to DuckDB, not {kind}")
    frame = pandas.read_parquet(parquet_path)
    if str(frame.dtypes["written_at"]) != "datetime64[us, UTC]":
        fail(f"column written_at is {frame.dtypes['written_at']} to pandas")
    if len(rows) != len(leaves) or len(frame) != len(leaves):
        fail(f"{len(rows)} and {len(frame)} rows of {len(leaves)} leaves")
    for place, (row, leaf, entry) in enumerate(zip(rows, leaves, entries)):
        row = dict(zip(names, row))
        same = (
            row["seq"] == entry["seq"] == place
            and row["written_at"] == entry["at_us"]
            and frame["written_at"][place].value == entry["at_us"] * 1000
            and row["kind"] == entry["kind"]
            and row["leaf"].encode() == leaf
            and row["leaf_hash"] == hashlib.sha256(b"\0" + leaf).digest()
            and row["decision_id"] == entry.get("decision_id", row["decision_id"])
            and frame["leaf"][place].encode() == leaf
        )
        if entry["kind"] in ("intent", "refusal", "referral"):
            agreement = entry.get("agreement") or {}
            same = same and (
                row["subjects"] == [entry["subject"]]
                and row["items"] == entry["permitted"]
                and row["reasons"] == entry["reasons"]
                and row["purpose"] == entry["purpose"]
                and row["agreement"] == agreement.get("agreement")
                and row["agreement_version"] == agreement.get("version")
            )
        if entry["kind"] == "release":
            same = same and row["items"] == entry["items"] and row["subjects"] == entry["subjects"]
        if not same:
            fail(f"row {place} is not its leaf: {row}")
    metadata = dict(duckdb.sql(f"SELECT key, value FROM parquet_kv_metadata('{parquet_path}')").fetchall())
    if int(metadata[b"concordat.until"]) != len(leaves) or not metadata[b"concordat.checkpoint"]:
        fail(f"metadata {metadata}")

    # OCSF: an event an entry, with what the class requires, and a type that follows from class and activity.
    events = [json.loads(line) for line in open(ocsf_path)]
    if len(events) != len(entries):
        fail(f"{len(events)} events of {len(entries)} entries")
    for event, entry, leaf in zip(events, entries, leaves):
        missing = [name for name in OCSF_REQUIRED if event.get(name) in (None, {}, "")]
        wrong = (
            missing
            or event["class_uid"] != 6003
            or event["type_uid"] != 6003 * 100 + event["activity_id"]
            or event["category_uid"] != 6
            or SeverityID(event["severity_id"]) is None
            or event["time"] != entry["at_us"] // 1000
            or event["metadata"]["sequence"] != entry["seq"]
            or event["metadata"]["uid"] != hashlib.sha256(b"\0" + leaf).hexdigest()
        )
        if wrong:
            fail(f"event of entry {entry['seq']}: {missing} {event}")

    # FHIR: every AuditEvent is one to a library that is not ours; a release is a disclosure at the source.
    kinds = {entry["seq"]: entry for entry in entries}
    count = 0
    for line in open(fhir_path):
        try:
            event = AuditEvent.model_validate_json(line)
        except ValueError as error:
            fail(f"no AuditEvent: {error}")
        entry = kinds[int(event.id.removeprefix("entry-"))]
        count += 1
        roles = {coding.code for agent in event.agent if agent.type for coding in agent.type.coding}
        if not {agent.requestor for agent in event.agent} & {True}:
            fail(f"nobody asked for {event.id}")
        if entry["kind"] == "release":
            patients = [one for one in event.entity if one.role and one.role.code == "1"]
            is_disclosure = (
                event.meta.profile[0].endswith("IHE.BasicAudit.PrivacyDisclosure.Source")
                and event.type.code == "110106"
                and event.subtype[0].code == "disclose"
                and {"110153", "110152", "CST"} <= roles
                and [one.what.identifier.value for one in patients] == entry["subjects"]
            )
            if not is_disclosure:
                fail(f"{event.id} is no disclosure at the source")
    about = [entry for entry in entries if entry["kind"] in ("intent", "refusal", "referral", "release", "closure", "subject_record_read")]
    if count != len(about):
        fail(f"{count} AuditEvents of {len(about)} entries")
    print(f"ok: {len(leaves)} entries, {count} AuditEvents")


main(*sys.argv[1:])

"""Checks leaves, one a line on standard input, with a JSON Schema validator and an RFC 8785 implementation.

usage: entries.py SCHEMA [refused] < NDJSON

With `refused`, every line must fail.
"""

import json
import sys

import rfc8785
from jsonschema import Draft202012Validator


def unique(pairs):
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member is there twice")
    return members


with open(sys.argv[1], encoding="utf-8") as file:
    schema = json.load(file)
Draft202012Validator.check_schema(schema)
validator = Draft202012Validator(schema)


def fault_of(leaf):
    try:
        entry = json.loads(leaf, object_pairs_hook=unique)
    except ValueError as error:
        return str(error)
    error = next(validator.iter_errors(entry), None)
    if error is not None:
        return f"does not fit the schema at {error.json_path}"
    if rfc8785.dumps(entry) != leaf:
        return "is not canonical"
    return None


must_fail = sys.argv[2:] == ["refused"]
count = 0
for line in sys.stdin.buffer:
    fault = fault_of(line.removesuffix(b"\n"))
    if (fault is None) == must_fail:
        print(f"fault: entry {count} {fault or 'passed'}")
        sys.exit(1)
    count += 1
print(f"ok: {count} entries")

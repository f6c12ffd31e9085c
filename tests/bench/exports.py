"""What exports, verification and the same by others cost: exports.py FOLDER, as `ledger` of this crate left it.

Each is a process of its own: time from beginning to end, and the most memory that it had. DuckDB writes the same rows,
read from our Parquet file, with COPY. SHA-256 is Python's hashlib (OpenSSL) over the bytes of the NDJSON file.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import time

folder = sys.argv[1]
root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
program = os.path.join(root, "target/release/concordat")
verifier = os.path.join(root, "target/release/concordat-verify")


def settings():
    """The gateway's settings as far as reading the ledger needs them: the demonstration's, with this database."""
    state = os.path.join(folder, "demo")
    subprocess.run(
        [program, "demo", "--check", "--state", state, "--port", "39000"], check=True, capture_output=True
    )
    path = os.path.join(state, "concordat.toml")
    text = open(path).read()
    for old, new in [
        ('origin = "concordat.example/demo"', 'origin = "ledger.example/third-party"'),
        ('database = "concordat.db"', f'database = "{folder}/concordat.db"'),
        ('checkpoint_copy = "checkpoint.txt"', f'checkpoint_copy = "{folder}/checkpoint.txt"'),
        ('signing_key = "ledger-signing.key"', f'signing_key = "{folder}/signing.key"'),
    ]:
        assert old in text, old
        text = text.replace(old, new)
    path = os.path.join(state, "bench.toml")
    open(path, "w").write(text)
    return path


def measured(command):
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    output, errors = process.communicate()
    took = time.monotonic() - began
    assert process.returncode == 0, (command, output, errors)
    return took, output.decode()


def timed(command):
    """Time and peak memory of one process, by a small Python between."""
    code = (
        "import resource, subprocess, sys; "
        "done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL); "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(done.returncode)"
    )
    took, output = measured([sys.executable, "-c", code, *command])
    return took, int(output.split()[-1]) / 1024


def main():
    config = settings()
    at = lambda name: os.path.join(folder, name)
    rows = {}

    def export(form, *where):
        command = [program, "audit", "export", "--config", config, "--format", form, *where]
        done(form, timed(command))

    def done(name, taken):
        rows[name] = taken
        print(f"{name:18} {taken[0]:>7.1f} s  peak {taken[1]:>5.0f} MB", flush=True)

    # One file at a time: ten million entries are some 7 GB.
    export("ndjson", "--out", at("out.ndjson"))
    done("verify ndjson", timed([verifier, "--quiet", at("out.ndjson")]))
    size = os.path.getsize(at("out.ndjson"))
    began = time.monotonic()
    with open(at("out.ndjson"), "rb") as file:
        digest = hashlib.sha256()
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    hashing = time.monotonic() - began
    os.remove(at("out.ndjson"))
    export("tiles", "--to", at("tiles"))
    done("verify tiles", timed([verifier, "--quiet", at("tiles")]))
    shutil.rmtree(at("tiles"))
    for form in ["csv", "fhir-audit-event", "ocsf"]:
        export(form, "--out", at("out." + form))
        os.remove(at("out." + form))
    export("parquet", "--out", at("out.parquet"))
    import duckdb

    connection = duckdb.connect()
    connection.execute("SET threads = 1")
    count = connection.execute(f"SELECT count(*) FROM '{at('out.parquet')}'").fetchone()[0]
    copies = {}
    for form, options in [("csv", "FORMAT csv"), ("parquet", "FORMAT parquet, COMPRESSION snappy"), ("json", "FORMAT json")]:
        began = time.monotonic()
        connection.execute(f"COPY (SELECT * FROM '{at('out.parquet')}') TO '{at('duck.' + form)}' ({options})")
        copies[form] = time.monotonic() - began
        os.remove(at("duck." + form))
    print(f"{count} entries, {size / 1e6:.0f} MB of leaves")
    for name, (took, peak) in rows.items():
        print(f"{name:18} {count / took:>9.0f} entries/s  {took:>7.1f} s  peak {peak:>5.0f} MB")
    for form, took in copies.items():
        print(f"DuckDB COPY {form:8} {count / took:>9.0f} entries/s  {took:>7.1f} s")
    for ours, theirs in [("csv", "csv"), ("parquet", "parquet"), ("ndjson", "json")]:
        print(f"{ours}: {rows[ours][0] / copies[theirs]:.1f}x the time of DuckDB's COPY to {theirs}")
    print(f"SHA-256 of the same bytes: {count / hashing:>9.0f} entries/s; verifying takes "
          f"{rows['verify ndjson'][0] / hashing:.1f}x that")


main()

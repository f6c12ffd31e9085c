"""Requests made by schemathesis from the OpenAPI document, each with a certificate, a token and a context of its own, so that
they get past the caller's checks and into the routes. No answer may be a fault of the server's.

python schema.py PARTNER EXAMPLES [SEED], with STATE and URL as with-gateway sets them
"""

import base64
import hashlib
import json
import os
import subprocess
import sys
import time
import tomllib
import uuid
from pathlib import Path
from urllib.parse import urlsplit

import jwt
import requests

STATE, URL = Path(os.environ["STATE"]), os.environ["URL"]
DETAIL = "https://concordat.example/authorization/person-disclosure"
ACTIONS = ["read", "decide", "record", "review", "audit", "subject-access"]


class Sign(requests.auth.AuthBase):
    """What a partner's system does before it sends: a token, and a context for this request."""

    def __init__(self, partner):
        self.partner = tomllib.loads((STATE / f"{partner}.partner.toml").read_text())
        self.issuer_key = (STATE / "issuer.key").read_text()
        self.context_key = (STATE / f"{partner}-context.key").read_text()
        pem = (STATE / f"{partner}.pem").read_text()
        der = base64.b64decode("".join(pem.split("-----")[2].split()))
        self.thumbprint = base64.urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode()

    def __call__(self, request):
        partner, now = self.partner, int(time.time())
        said = self.said(request.body)
        purpose = said.get("purpose") if said.get("purpose") in partner["purposes"] else partner["purposes"][0]
        token = {
            "iss": partner["issuer"], "aud": partner["audience"], "sub": partner["client_id"],
            "client_id": partner["client_id"], "iat": now, "exp": now + 300, "jti": uuid.uuid4().hex,
            "cnf": {"x5t#S256": self.thumbprint},
            "authorization_details": [{"type": DETAIL, "purpose": p, "actions": ACTIONS} for p in partner["purposes"]],
        }
        context = {
            "iss": partner["client_id"], "sub": partner["practitioner"], "aud": partner["audience"], "iat": now,
            "exp": now + 120, "jti": uuid.uuid4().hex, "htm": request.method,
            "htu": partner["public_url"] + urlsplit(request.url).path,
            "reason_for_request": purpose, "purpose": purpose, "case_reference": "CASE-1",
            "requesting_device": {"identifier": partner["client_id"], "model": "m", "version": "1"},
            "requesting_organization": {"identifier": partner["organisation"]},
            "requesting_practitioner": {"id": partner["practitioner"], "role": partner["role"]},
        }
        subject = said.get("subject")
        if isinstance(subject, dict) and set(subject) == {"scheme", "value"}:
            context["requested_record"] = subject
        request.headers["Authorization"] = "Bearer " + self.signed(token, self.issuer_key, "issuer-1", "at+jwt")
        request.headers["Sharing-Context"] = self.signed(context, self.context_key, "context-1", "sharing-context+jwt")
        return request

    @staticmethod
    def said(body):
        try:
            said = json.loads(body or b"{}")
        except (ValueError, TypeError, RecursionError):
            return {}
        return said if isinstance(said, dict) else {}

    @staticmethod
    def signed(claims, key, kid, typ):
        try:
            return jwt.encode(claims, key, "ES256", {"kid": kid, "typ": typ})
        except (UnicodeEncodeError, TypeError):  # a person's identifier that no JWT can hold
            claims.pop("requested_record", None)
            return jwt.encode(claims, key, "ES256", {"kid": kid, "typ": typ})


# Imported by schemathesis as a file of hooks, too.
if os.environ.get("SCHEMATHESIS_HOOKS") and __name__ != "__main__":
    import schemathesis

    schemathesis.auth.set_from_requests(Sign(os.environ["PARTNER"]))

    @schemathesis.serializer("application/x-ndjson")
    def as_lines(_, value):
        """A list's body: the line that the document describes, and nobody after it."""
        return (json.dumps(value) + "\n").encode()



def main():
    partner, examples, seed = sys.argv[1], sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else "1"
    both = STATE / f"{partner}.both.pem"
    both.write_text((STATE / f"{partner}.pem").read_text() + (STATE / f"{partner}.key").read_text())
    both.chmod(0o600)
    here = Path(__file__).resolve()
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": here.stem, "PYTHONPATH": str(here.parent), "PARTNER": partner}
    command = [
        str(Path(sys.executable).parent / "schemathesis"), "run", str(here.parents[2] / "docs/openapi.json"), "--url", URL,
        "--request-cert", str(both), "--tls-verify", str(STATE / "ca.pem"), "--checks", "not_a_server_error",
        "--max-examples", examples, "--seed", seed, "--generation-database", "none", "--no-color", "--continue-on-failure",
        "--suppress-health-check", "all", "--exclude-path-regex", "^/(healthz|readyz)$", "--phases", "fuzzing",
    ]
    raise SystemExit(subprocess.run(command, env=environment, cwd=STATE).returncode)


if __name__ == "__main__":
    main()

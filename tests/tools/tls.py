"""What sslyze finds at a running gateway: protocol versions, cipher suites, resumption, renegotiation, known faults.

python tls.py HOST PORT CERTIFICATE KEY CA
"""

import sys
from pathlib import Path

from sslyze import (
    ClientAuthenticationCredentials,
    ScanCommand,
    Scanner,
    ServerNetworkConfiguration,
    ServerNetworkLocation,
    ServerScanRequest,
    ServerScanStatusEnum,
)
from sslyze.plugins.session_resumption.implementation import TlsResumptionSupportEnum

ALLOWED = {
    "TLS_AES_256_GCM_SHA384",
    "TLS_AES_128_GCM_SHA256",
    "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
}
SUITES = {
    "SSL 2.0": ScanCommand.SSL_2_0_CIPHER_SUITES,
    "SSL 3.0": ScanCommand.SSL_3_0_CIPHER_SUITES,
    "TLS 1.0": ScanCommand.TLS_1_0_CIPHER_SUITES,
    "TLS 1.1": ScanCommand.TLS_1_1_CIPHER_SUITES,
    "TLS 1.2": ScanCommand.TLS_1_2_CIPHER_SUITES,
    "TLS 1.3": ScanCommand.TLS_1_3_CIPHER_SUITES,
}
OTHERS = {
    ScanCommand.TLS_COMPRESSION,
    ScanCommand.TLS_1_3_EARLY_DATA,
    ScanCommand.SESSION_RESUMPTION,
    ScanCommand.SESSION_RENEGOTIATION,
    ScanCommand.HEARTBLEED,
    ScanCommand.OPENSSL_CCS_INJECTION,
    ScanCommand.ROBOT,
    ScanCommand.ELLIPTIC_CURVES,
}


def scan(host, port, certificate, key):
    request = ServerScanRequest(
        server_location=ServerNetworkLocation(hostname=host, port=port, ip_address="127.0.0.1"),
        network_configuration=ServerNetworkConfiguration(
            tls_server_name_indication=host,
            tls_client_auth_credentials=ClientAuthenticationCredentials(
                certificate_chain_path=Path(certificate), key_path=Path(key)
            ),
        ),
        scan_commands=set(SUITES.values()) | OTHERS,
    )
    scanner = Scanner(per_server_concurrent_connections_limit=2)
    scanner.queue_scans([request])
    (result,) = scanner.get_results()
    if result.scan_status != ServerScanStatusEnum.COMPLETED:
        raise SystemExit(f"the scan did not complete: {result.connectivity_error_trace}")
    return result.scan_result


def main():
    host, port, certificate, key = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
    found = scan(host, port, certificate, key)
    wrong = []

    def expect(what, is_so):
        print(("ok   " if is_so else "WRONG"), what)
        if not is_so:
            wrong.append(what)

    for version, command in SUITES.items():
        attempt = getattr(found, command.value)
        expect(f"{version}: the scan worked", attempt.result is not None)
        names = {accepted.cipher_suite.name for accepted in attempt.result.accepted_cipher_suites}
        if version in ("TLS 1.2", "TLS 1.3"):
            expect(f"{version} is offered", bool(names))
            expect(f"{version}: forward secrecy and authenticated encryption alone: {sorted(names)}", names <= ALLOWED)
        else:
            expect(f"{version} is not offered", not names)
    expect("no compression", not found.tls_compression.result.supports_compression)
    expect("no early data", not found.tls_1_3_early_data.result.supports_early_data)
    resumption = found.session_resumption.result
    expect(
        "no session is resumed",
        resumption.session_id_resumption_result == TlsResumptionSupportEnum.NOT_SUPPORTED
        and resumption.tls_ticket_resumption_result == TlsResumptionSupportEnum.NOT_SUPPORTED,
    )
    renegotiation = found.session_renegotiation.result
    expect("no renegotiation by the client", not renegotiation.is_vulnerable_to_client_renegotiation_dos)
    expect("no heartbleed", not found.heartbleed.result.is_vulnerable_to_heartbleed)
    expect("no ccs injection", not found.openssl_ccs_injection.result.is_vulnerable_to_ccs_injection)
    expect("no robot", found.robot.result.robot_result.name.startswith("NOT_VULNERABLE"))
    curves = found.elliptic_curves.result
    names = {curve.name for curve in curves.supported_curves or []}
    expect(f"curves: {sorted(names)}", bool(names) and names <= {"X25519", "secp256r1", "secp384r1"})
    raise SystemExit(f"{len(wrong)} findings" if wrong else 0)


main()

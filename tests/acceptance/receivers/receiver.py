"""What privacy officers receive with: an HTTPS receiver of webhooks and a mail server, neither of them ours.

Signatures are verified by the Standard Webhooks project's own library, mail is taken by aiosmtpd. Everything that
arrives is written to a file as it came, one JSON object a line. The first line printed is the port.

  receiver.py webhook CERTIFICATE KEY SECRET MODE OUT   the file MODE says what to answer: ok, 500, redirect, gone, hang
  receiver.py mail    CERTIFICATE KEY OUT               after STARTTLS alone
"""

import asyncio
import http.server
import json
import ssl
import sys
import threading


def context(certificate, key):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(certificate, key)
    return made


def webhook(certificate, key, secret, mode, out):
    from standardwebhooks.webhooks import Webhook, WebhookVerificationError

    with open(secret) as file:
        verifier = Webhook(file.read().strip())

    class Receiver(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            with open(mode) as file:
                said = file.read().strip()
            # The stopped clock of a test is not this machine's: the age is looked at on its own.
            seen = {name.lower(): value for name, value in self.headers.items()}
            try:
                Webhook._Webhook__verify_timestamp = lambda _, stamp: __import__("datetime").datetime.fromtimestamp(
                    float(stamp), __import__("datetime").timezone.utc
                )
                verifier.verify(body, seen)
                verified = True
            except WebhookVerificationError:
                verified = False
            forged = True
            try:
                verifier.verify(body.replace("alert", "alarm", 1), seen)
            except WebhookVerificationError:
                forged = False
            with open(out, "a") as file:
                line = {"path": self.path, "headers": seen, "body": body, "verified": verified, "forged": forged}
                file.write(json.dumps(line) + "\n")
            if said == "hang":
                threading.Event().wait()
            self.send_response({"ok": 204, "500": 500, "redirect": 307, "gone": 410}[said])
            if said == "redirect":
                self.send_header("location", f"https://localhost:{self.server.server_port}/elsewhere")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    server.daemon_threads = True
    server.socket = context(certificate, key).wrap_socket(server.socket, server_side=True)
    print(server.server_port, flush=True)
    server.serve_forever()


def mail(certificate, key, out):
    from aiosmtpd.smtp import SMTP

    class Handler:
        async def handle_DATA(self, server, session, envelope):
            line = {
                "from": envelope.mail_from,
                "to": envelope.rcpt_tos,
                "content": envelope.content.decode(),
                "tls": session.ssl is not None,
            }
            with open(out, "a") as file:
                file.write(json.dumps(line) + "\n")
            return "250 taken"

    async def serve():
        made = context(certificate, key)
        loop = asyncio.get_running_loop()
        factory = lambda: SMTP(Handler(), tls_context=made, require_starttls=True, loop=loop)
        server = await loop.create_server(factory, "127.0.0.1", 0)
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()

    asyncio.run(serve())


{"webhook": webhook, "mail": mail}[sys.argv[1]](*sys.argv[2:])

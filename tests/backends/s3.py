"""A store that speaks S3, with one bucket and one key; ends when its standard input does.

It is on loopback, or by TLS on the address and with the certificate and key that are given, in this order. moto keeps
the objects. Who asks is checked here, as AWS does it: by the signature over the request as it was sent.
"""

import contextlib
import json
import secrets
import ssl
import sys
import threading

import boto3
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response

REGION = "eu-central-1"
BUCKET = "terraform-states"
KEY = Credentials("AKIA" + secrets.token_hex(8).upper(), secrets.token_hex(20))

store = DomainDispatcherApplication(create_backend_app)


def signature(request):
    """What the request's signature is when it was signed with the key."""
    given = dict(part.strip().split("=", 1) for part in request.headers["Authorization"].split(" ", 1)[1].split(","))
    signed = {name: request.headers[name] for name in given["SignedHeaders"].split(";")}
    asked = AWSRequest(request.method, request.host_url.rstrip("/") + request.environ["RAW_URI"], headers=signed)
    asked.context["timestamp"] = request.headers["X-Amz-Date"]
    signer = S3SigV4Auth(KEY, "s3", REGION)
    text = signer.string_to_sign(asked, signer.canonical_request(asked))
    known = given["Credential"].startswith(KEY.access_key + "/")
    return known and given["Signature"] == signer.signature(text, asked)


def serve(environ, respond):
    request = Request(environ)
    if "Authorization" in request.headers and signature(request):
        return store(environ, respond)
    text = "<Error><Code>SignatureDoesNotMatch</Code><Message>The key is another one.</Message></Error>"
    return Response(text, 403, content_type="application/xml")(environ, respond)


class Quiet(WSGIRequestHandler):
    def log_request(self, *args):
        pass

    def finish(self):
        super().finish()
        if isinstance(self.connection, ssl.SSLSocket):
            # pgBackRest takes a connection that ends without TLS's own goodbye for a fault.
            self.connection.settimeout(1)
            with contextlib.suppress(OSError):
                self.connection.unwrap()


address, *pair = sys.argv[1:] or ["127.0.0.1"]
server = make_server(address, 0, serve, threaded=True, request_handler=Quiet, ssl_context=tuple(pair) or None)
threading.Thread(target=server.serve_forever, daemon=True).start()
endpoint = f"http{'s' if pair else ''}://{address}:{server.server_port}"
client = boto3.client("s3", region_name=REGION, endpoint_url=endpoint, aws_access_key_id=KEY.access_key,
                      aws_secret_access_key=KEY.secret_key, verify=False)
client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
print(json.dumps({"endpoint": endpoint, "bucket": BUCKET, "region": REGION, "id": KEY.access_key, "secret": KEY.secret_key}),
      flush=True)
sys.stdin.read()

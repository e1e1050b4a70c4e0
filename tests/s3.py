"""A real S3 server on this machine, and a proxy in front of it whose line can be cut."""

import contextlib
import socket
import threading

BUCKET = "bucket"


@contextlib.contextmanager
def s3_server():
    """Its URL. Everything is kept in memory."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        yield "http://{}:{}".format(*server.get_host_and_port())
    finally:
        server.stop()


def environment(url):
    """What s3fs and boto3 read. One try each: it is the server's own trying again that is looked at here."""
    keys = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
    return keys | {"AWS_ENDPOINT_URL": url, "AWS_MAX_ATTEMPTS": "1", "AWS_EC2_METADATA_DISABLED": "true"}


class Bucket:
    """As its owner sees it."""

    def __init__(self, url):
        import boto3

        keys = {"aws_access_key_id": "id", "aws_secret_access_key": "secret", "region_name": "us-east-1"}
        self.client = boto3.client("s3", endpoint_url=url, **keys)
        self.client.create_bucket(Bucket=BUCKET)

    def put(self, key, body):
        self.client.put_object(Bucket=BUCKET, Key=key, Body=body)

    def delete(self, key):
        self.client.delete_object(Bucket=BUCKET, Key=key)

    def clear(self):
        for page in self.client.list_objects_v2(Bucket=BUCKET).get("Contents", ()):
            self.delete(page["Key"])


class Proxy:
    """Between a client and the server at `url`. `seen` counts the bytes that the client was sent.

    `cut` after so many more bytes and the line is dead: `dead` is set, and every connection, old or new, is closed or,
    if `hang`, says nothing more; `once`: only the one that is talking is closed. `mend` opens the line again.
    """

    def __init__(self, url):
        host, _, port = url.removeprefix("http://").partition(":")
        self.target = (host, int(port))
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.seen = 0
        self.budget = None
        self.hang = False
        self.once = False
        self.dead = threading.Event()
        self.lock = threading.Lock()
        self.sockets = []
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self, after, hang=False, once=False):
        self.budget, self.hang, self.once = after, hang, once

    def mend(self):
        self._close_all()
        self.budget, self.hang = None, False
        self.dead.clear()

    def close(self):
        self.listener.close()
        self._close_all()

    def _close_all(self):
        for each in self.sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self.sockets = []

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            if self.dead.is_set() and not self.hang:
                client.close()
                continue
            server = socket.create_connection(self.target)
            self.sockets += [client, server]
            for source, sink, down in ((client, server, False), (server, client, True)):
                threading.Thread(target=self._pump, args=(source, sink, down), daemon=True).start()

    def _pump(self, source, sink, down):
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if down and not self._may_pass(len(data)):
                    if self.hang:
                        return
                    break
                sink.sendall(data)
        for each in (source, sink):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _may_pass(self, size):
        with self.lock:
            if self.dead.is_set():
                return False
            if self.budget is not None:
                self.budget -= size
                if self.budget < 0:
                    self.budget = None
                    if not self.once:
                        self.dead.set()
                    return False
            self.seen += size
            return True

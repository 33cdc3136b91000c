"""A store that speaks S3 on loopback (moto), and what the environment of a command says of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

KEY, SECRET = "reader", "open-sesame"


class S3Server:
    """A running store; `put` and `delete` change it as others would."""

    def __init__(self, url: str) -> None:
        import boto3  # half a second, which other tests need not wait for

        self.url = url
        known = {"aws_access_key_id": KEY, "aws_secret_access_key": SECRET, "region_name": "us-east-1"}
        self._client: Any = boto3.client("s3", endpoint_url=url, **known)

    def fresh(self) -> None:
        """One empty bucket, `bucket`."""
        for bucket in self._client.list_buckets()["Buckets"]:
            for entry in self._client.list_objects_v2(Bucket=bucket["Name"]).get("Contents", ()):
                self.delete(entry["Key"])
            self._client.delete_bucket(Bucket=bucket["Name"])
        self._client.create_bucket(Bucket="bucket")

    def put(self, key: str, content: bytes) -> None:
        self._client.put_object(Bucket="bucket", Key=key, Body=content)

    def delete(self, key: str) -> None:
        self._client.delete_object(Bucket="bucket", Key=key)


@contextmanager
def s3_server() -> Iterator[S3Server]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield S3Server(f"http://{host}:{port}")
    finally:
        server.stop()


def set_environment(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """What a command finds the store by; filesystems that were made for another one are forgotten."""
    from s3fs import S3FileSystem

    known = {"AWS_ENDPOINT_URL": url, "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
    for name, value in {**known, "AWS_DEFAULT_REGION": "us-east-1", "AWS_MAX_ATTEMPTS": "1"}.items():
        monkeypatch.setenv(name, value)
    S3FileSystem.clear_instance_cache()

import pytest
from s3 import Bucket, Proxy, environment, s3_server


@pytest.fixture(scope="session")
def s3_url():
    with s3_server() as url:
        yield url


@pytest.fixture(scope="session")
def whole_bucket(s3_url):
    return Bucket(s3_url)


@pytest.fixture
def line(s3_url, monkeypatch):
    """What everyone's S3 client goes through."""
    import s3fs

    proxy = Proxy(s3_url)
    for name, value in environment(proxy.url).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
    s3fs.S3FileSystem.clear_instance_cache()  # they keep the address that they were made with
    yield proxy
    proxy.close()


@pytest.fixture
def bucket(whole_bucket, line):
    yield whole_bucket
    whole_bucket.clear()

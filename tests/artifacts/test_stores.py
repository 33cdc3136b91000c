"""What URLs name is what the same pattern names of files, and a copy is of the version that was listed."""

import gc
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from artifacts.errors import ConfigError, DataError, ResourceError
from artifacts.sources.inputs import FileState
from artifacts.sources.source_files import find_files
from artifacts.sources.stores import Stores, url_problem
from tests.worlds.s3_server import S3Server, set_environment

TREE = (
    "log/day=1/a.pq",
    "log/day=1/b c#1.csv.gz",
    "log/day=2/hour=07/a.PQ",
    "log/day=2/_temporary/0/a.pq",
    "log/day=__HIVE_DEFAULT_PARTITION__/x%2Fy=1/a.pq",
    "log/.hidden/a.pq",
    "log/_SUCCESS",
    "log2/a.pq",
    "events[1].pq",
    "events1.pq",
    "é/a.pq",
    "prod [v1]/a.pq",
    "prod v/b.pq",
)
PATTERNS = (
    *("log", "log/", "log/*", "log/**", "log/**/*.pq", "**/*.pq", "**", "*", "log/day=?/*", "log/day=[12]/**/a.*"),
    *(
        "log/day=2",
        "log/_temporary",
        "log/*/_temporary",
        "log/_*",
        "log/.h*/*",
        "events[1].pq",
        "events?.pq",
        "nope/*",
        "prod [v1]/*",
    ),
    *("log/day=1/b c#1.csv.gz", "*/a.pq", "lo*", "é/*", "log/**/a.pq/*"),
)


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[Stores]:
    with Stores(tmp_path / "stored") as found:
        yield found


def write(root: Path, s3: S3Server) -> Path:
    for name in TREE:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
        s3.put(name, name.encode())
    s3.put("log/day=3/", b"")  # what consoles make of an empty directory
    return root


def test_patterns_mean_what_they_mean_of_files(tmp_path: Path, s3: S3Server, stores: Stores) -> None:
    root, bucket = write(tmp_path / "files", s3), tmp_path / "stored/s3/bucket"
    for suffixes in (("",), (".pq",)):
        for pattern in PATTERNS:
            local = find_files(root, [pattern], suffixes)
            stored = find_files(root, [f"s3://bucket/{pattern}"], suffixes, stores)
            expected = {path.relative_to(root): keys for path, keys in local.files.items()}
            assert {path.relative_to(bucket): keys for path, keys in stored.files.items()} == expected, pattern
            assert bool(stored.missing) == bool(local.missing), pattern
            stores.fetch(stored.files)
            assert all(path.read_text() == str(path.relative_to(bucket)) for path in stored.files), pattern


NAMES = st.sampled_from(["a", "b=1", "_c", ".d", "e[1]", "f.pq"])
PARTS = st.sampled_from(["a", "b=1", "*", "**", "?*", "_*", "e[1]", "e1", "[a-f]*"])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sets(st.lists(NAMES, min_size=1, max_size=3).map(tuple), max_size=6), st.lists(PARTS, min_size=1, max_size=3))
def test_any_pattern_means_what_it_means_of_files(tmp_path: Path, names: set, parts: list[str]) -> None:
    """Of any tree in which no file lies below another, as on a disk."""
    import fsspec

    memory = fsspec.filesystem("memory")
    root = tmp_path / "files"
    for made in (root, tmp_path / "stored"):
        shutil.rmtree(made, ignore_errors=True)
    memory.store.clear()
    memory.pseudo_dirs[:] = [""]
    root.mkdir()
    for name in sorted(names):
        if not any(other != name and other[: len(name)] == name for other in names):
            (root.joinpath(*name)).parent.mkdir(parents=True, exist_ok=True)
            (root.joinpath(*name)).write_text("x")
            memory.pipe_file(f"/top/{'/'.join(name)}", b"x")
    local = find_files(root, ["/".join(parts)]).files
    stored = find_files(root, [f"memory://top/{'/'.join(parts)}"], stores=Stores(tmp_path / "stored")).files
    top = tmp_path / "stored/memory/top"
    assert {p.relative_to(top): k for p, k in stored.items()} == {p.relative_to(root): k for p, k in local.items()}


def test_a_store_is_asked_once(s3: S3Server, stores: Stores, tmp_path: Path) -> None:
    s3.put("a.csv", b"1")
    first = find_files(tmp_path, ["s3://bucket/*"], stores=stores).files
    s3.put("b.csv", b"2")
    assert find_files(tmp_path, ["s3://bucket/*"], stores=stores).files == first


def test_a_version_is_told_from_another(s3: S3Server, tmp_path: Path) -> None:
    """By its state before a copy is there, and by what any look at the copy says."""

    def look() -> tuple[dict | None, dict]:
        with Stores(tmp_path / "stored") as stores:
            (path,) = find_files(tmp_path, ["s3://bucket/a.csv"], stores=stores).files
            state = stores.state(path)
            stores.fetch([path])
            assert stores.state(path) == state
            return state, FileState.of(path).content

    s3.put("a.csv", b"1")
    first = look()
    assert look() == first
    s3.put("a.csv", b"2")
    second = look()
    assert second[0] != first[0] and second[1] != first[1]
    assert not (tmp_path / "stored").exists()


@pytest.mark.parametrize("content", [b"3", b"22", None])
def test_a_file_that_changes_is_not_read(s3: S3Server, stores: Stores, tmp_path: Path, content: bytes | None) -> None:
    s3.put("a.csv", b"1")
    files = find_files(tmp_path, ["s3://bucket/*"], stores=stores).files
    if content is None:
        s3.delete("a.csv")
    else:
        s3.put("a.csv", content)
    with pytest.raises(DataError, match=r"^s3://bucket/a\.csv: (changed while it was read|there is no such)"):
        stores.fetch(files)
    assert not any(path.exists() for path in files)


def test_a_copy_ends_when_it_is_asked_to(s3: S3Server, stores: Stores, tmp_path: Path) -> None:
    s3.put("a.csv", b"1" * 10_000_000)
    (path,) = find_files(tmp_path, ["s3://bucket/*"], stores=stores).files
    stopped = threading.Event()
    stopped.set()
    with pytest.raises(DataError, match="not copied to its end"):
        stores._copy(path, stopped)
    assert not path.exists()
    stores.fetch([path])
    assert path.stat().st_size == 10_000_000


def test_what_a_killed_command_left_is_not_taken_for_a_copy(s3: S3Server, tmp_path: Path) -> None:
    s3.put("a.csv", b"1")
    (tmp_path / "stored/s3/bucket").mkdir(parents=True)
    (tmp_path / "stored/s3/bucket/a.csv").write_bytes(b"0")
    with Stores(tmp_path / "stored") as stores:
        (path,) = find_files(tmp_path, ["s3://bucket/*"], stores=stores).files
        stores.fetch([path])
        assert path.read_bytes() == b"1"


@pytest.mark.parametrize("name", ["a//b.csv", "n" * 250])
def test_a_name_that_no_copy_can_have(s3: S3Server, stores: Stores, tmp_path: Path, name: str) -> None:
    s3.put(name, b"1")
    with pytest.raises(DataError, match="no copy can have this name"):
        find_files(tmp_path, ["s3://bucket"], stores=stores)


def test_no_bucket_and_no_file(s3: S3Server, stores: Stores, tmp_path: Path) -> None:
    s3.put("a.csv", b"1")
    patterns = [
        "s3://bucket/nope.csv",
        "s3://bucket/nope/*",
        "s3://bucket/a.csv/*",
        "s3://nowhere/*.csv",
        "s3://nowhere",
    ]
    assert find_files(tmp_path, patterns, stores=stores).missing == patterns


def test_no_network_and_no_credentials(
    s3: S3Server, stores: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3.put("a.csv", b"1")
    set_environment(monkeypatch, "http://127.0.0.1:1")
    with pytest.raises(DataError, match=r"^s3://bucket/a\.csv: cannot be read \(EndpointConnectionError: ") as caught:
        find_files(tmp_path, ["s3://bucket/a.csv"], stores=stores)
    assert "\n" not in str(caught.value)
    set_environment(monkeypatch, s3.url)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    with pytest.raises(DataError, match=r"^s3://bucket/a\.csv: cannot be read \(NoCredentialsError: "):
        find_files(tmp_path, ["s3://bucket/a.csv"], stores=stores)


def test_no_permission(s3: S3Server, stores: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from s3fs import S3FileSystem

    def denied(*asked: object, **more: object) -> None:
        raise PermissionError("Access Denied")

    monkeypatch.setattr(S3FileSystem, "info", denied)
    with pytest.raises(DataError, match=r"^s3://bucket/a: not permitted \(Access Denied\); credentials come from"):
        find_files(tmp_path, ["s3://bucket/a"], stores=stores)


def test_a_package_that_is_missing(stores: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "s3", raising=False)
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(ConfigError, match=r"pip install '\.\[fsspec\]'"):
        find_files(tmp_path, ["s3://bucket/a"], stores=stores)
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(ConfigError, match=r"pip install '\.\[fsspec\]'"):
        find_files(tmp_path, ["gs://bucket/a"], stores=stores)


def test_a_scheme_that_is_none(stores: Stores, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^s4://bucket/a: Protocol not known: s4; expected"):
        find_files(tmp_path, ["s4://bucket/a"], stores=stores)


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("url", ["ftp://host/a.csv", "github://owner/a.csv"])
def test_a_store_that_asks_for_more_than_a_url(stores: Stores, tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigError, match=r"needs more than a URL says; expected a path, s3://"):
        find_files(tmp_path, [url], stores=stores)
    gc.collect()  # what was half made would print a traceback now


def test_a_disk_that_is_too_small(
    s3: S3Server, stores: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3.put("a.csv", b"1" * 1000)
    files = find_files(tmp_path, ["s3://bucket/*"], stores=stores).files
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=999))
    with pytest.raises(ResourceError, match="needs about"):
        stores.fetch(files)


def test_without_stores_a_url_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^s3://bucket/a: only transra's commands"):
        find_files(tmp_path, ["s3://bucket/a"])


@contextmanager
def web_server(root: Path, etag: bool) -> Iterator[str]:
    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *message: object) -> None:
            pass

        def end_headers(self) -> None:
            if etag:
                self.send_header("ETag", '"1"')
            super().end_headers()

        def send_header(self, keyword: str, value: str) -> None:
            if keyword != "Last-Modified" or etag:
                super().send_header(keyword, value)

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(root)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_web_server(tmp_path: Path, stores: Stores) -> None:
    (tmp_path / "a.csv").write_bytes(b"x" * 100_000)
    with web_server(tmp_path, etag=True) as url:
        (path,) = find_files(tmp_path, [f"{url}/a.csv"], stores=stores).files
        stores.fetch([path])
        assert path.read_bytes() == b"x" * 100_000 and path.suffix == ".csv"
        assert find_files(tmp_path, [f"{url}/b.csv"], stores=stores).missing
    with web_server(tmp_path, etag=False) as url, pytest.raises(DataError, match="neither ETag nor time"):
        find_files(tmp_path, [f"{url}/a.csv"], stores=stores)
    with pytest.raises(DataError, match=r"^http://127.0.0.1:1/a.csv: cannot be read \("):
        find_files(tmp_path, ["http://127.0.0.1:1/a.csv"], stores=stores)


@pytest.mark.parametrize(
    ("pattern", "fine"),
    [
        ("s3://bucket/*.csv", True),
        ("https://example.org/a.csv", True),
        ("logs/*.csv", True),
        ("sqlite:///a.db", True),
        ("s3://key:secret@bucket/*.csv", False),
        ("https://user@example.org/a.csv", False),
        ("https://example.org/a.csv?X-Amz-Signature=1", False),
        ("https://example.org/*.csv", False),
        ("http://[::1/a.csv", False),
    ],
)
def test_what_a_config_may_say(pattern: str, fine: bool) -> None:
    assert (url_problem(pattern) is None) == fine

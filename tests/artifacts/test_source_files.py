"""Which files a pattern names: one resolver for graph and ranker, so that no event is read twice or never."""

import glob
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from artifacts.errors import DataError
from artifacts.sources.source_files import find_files


def tree(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


def found(root: Path, *patterns: str) -> list[str]:
    return [str(path.relative_to(root)) for path in find_files(root, patterns).files]


def keys(root: Path, *patterns: str) -> dict:
    return {str(path.relative_to(root)): keys for path, keys in find_files(root, patterns).files.items()}


@pytest.mark.parametrize("name", ["events[1].parquet", "e?.parquet", "*.parquet", "**", "[!a].pq", "a[", "it's {a,b}"])
def test_a_name_that_exists_is_read_as_itself(tmp_path, name):
    tree(tmp_path, name, "events1.parquet", "e1.parquet", "x/b.pq")
    assert found(tmp_path, name) == [name]


def test_a_root_with_brackets(tmp_path):
    root = tree(tmp_path / "prod [v1]", "day=1/x.parquet", "day=2/x.parquet")
    tree(tmp_path / "prod v", "day=3/x.parquet")
    assert found(root, "day=?/*.parquet") == ["day=1/x.parquet", "day=2/x.parquet"]
    assert found(tmp_path, "prod [v1]/day=1/*.parquet") == ["prod [v1]/day=1/x.parquet"]


def test_patterns(tmp_path):
    tree(tmp_path, "day-01/a.pq", "day-02/b.pq", "day-2/c.pq", "day-02/deep/d.pq")
    assert found(tmp_path, "day-??/*.pq") == ["day-01/a.pq", "day-02/b.pq"]
    assert found(tmp_path, "day-0[2]") == ["day-02/b.pq", "day-02/deep/d.pq"]
    assert found(tmp_path, "**/*.pq") == found(tmp_path, ".") == found(tmp_path, "**")
    assert len(found(tmp_path, "**")) == 4
    assert find_files(tmp_path, ["day-03/**", "nope", "day-??"]).missing == ["day-03/**", "nope"]


def test_a_file_counts_once(tmp_path):
    tree(tmp_path, "log/day=1/x.pq", "log/day=2/y.pq")
    (tmp_path / "log/current").symlink_to("day=2")
    (tmp_path / "log/day=1/again.pq").symlink_to("x.pq")
    os.link(tmp_path / "log/day=1/x.pq", tmp_path / "log/day=1/hard.pq")
    (tmp_path / "log/day=1/loop").symlink_to("..")
    expected = {"log/day=1/hard.pq": {"day": "1"}, "log/day=2/y.pq": {"day": "2"}}
    assert keys(tmp_path, "log") == expected
    assert keys(tmp_path, "log/day=?/*", "log/**/*.pq", "log", "log/../log/day=1/x.pq") == expected


def test_names_of_a_file_that_disagree(tmp_path):
    tree(tmp_path, "day=1/x.pq")
    (tmp_path / "day=2").symlink_to("day=1")
    with pytest.raises(DataError, match="its names say day=1 and day=2"):
        find_files(tmp_path, ["."])
    tree(tmp_path, "other/day=1/day=3/x.pq")
    with pytest.raises(DataError, match="its directories say day=1 and day=3"):
        find_files(tmp_path, ["other"])


def test_what_is_no_data(tmp_path):
    tree(tmp_path, "log/a.pq", "log/_temporary/0/b.pq", "log/.hidden/c.pq", "log/_SUCCESS", "log/.a.pq.crc")
    for pattern in ("log", "log/*", "log/**", "log/**/*.pq", "**/*.pq", "*"):
        assert found(tmp_path, pattern) == ["log/a.pq"]
    assert found(tmp_path, "log/_temporary/0/*") == ["log/_temporary/0/b.pq"]
    root = tree(tmp_path / "_runs/.checkout", "log/a.pq")
    assert found(root, "log/*") == ["log/a.pq"]


def test_only_keys_below_the_base_become_columns(tmp_path):
    root = tree(
        tmp_path / "hour=3",
        "log/day=07/x.pq",
        "log/day=__HIVE_DEFAULT_PARTITION__/y.pq",
        "log/z.pq",
        "log/a%3Db=c%20d/x",
    )
    expected = {"log/day=07/x.pq": {"day": "07"}, "log/day=__HIVE_DEFAULT_PARTITION__/y.pq": {"day": None}}
    assert keys(root, "log/**/*.pq") == {**expected, "log/z.pq": {}}
    assert keys(root, "log/a*") == {"log/a%3Db=c%20d/x": {"a=b": "c d"}}
    assert keys(root, "log/day=07/*.pq", "log/day=07/x.pq") == {"log/day=07/x.pq": {}}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.symlink_to("nowhere"), "a link to nothing"),
        (os.mkfifo, "expected a file or a directory"),
    ],
)
def test_what_is_no_file(tmp_path, make, message):
    make(tmp_path / "x.pq")
    for pattern in ("x.pq", ".", "*"):
        with pytest.raises(DataError, match=message):
            find_files(tmp_path, [pattern])


def test_a_name_that_is_not_utf8(tmp_path):
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.pq")).touch()
    with pytest.raises(DataError, match="not UTF-8") as caught:
        find_files(tmp_path, ["*.pq"])
    str(caught.value).encode()


names = st.text("ab[]*?!-=_. ", min_size=1, max_size=4).filter(lambda name: name not in (".", ".."))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(paths=st.sets(st.tuples(names, names), min_size=1, max_size=6), pattern=names)
def test_globs_are_pythons_and_every_name_can_be_written(tmp_path_factory, paths, pattern):
    root = tmp_path_factory.mktemp("tree")
    tree(root, *("/".join(path) for path in paths))
    for path in paths:
        assert found(root, "/".join(path)) == ["/".join(path)]
    if not os.path.lexists(root / pattern) and any(c in pattern for c in "*?["):
        expected = {
            name
            for name in glob.glob(f"{pattern}/*", root_dir=root, include_hidden=True)
            if all(part[0] not in "._" or at == 0 and pattern[0] == part[0] for at, part in enumerate(name.split("/")))
        }
        assert set(found(root, f"{pattern}/*")) == expected

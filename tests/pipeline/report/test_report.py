"""The page of a run: made after each `run`, anew where the records have changed, and it says what is missing."""

import errno
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from artifacts.formats.bucket_file import BucketFile
from artifacts.formats.graph import bucket_path, load_graph
from pipeline.report import view
from pipeline.report.popularity import popularity
from pipeline.report.view import REPORT
from tests.worlds.hostile_world import HOSTILE, write_world
from tests.worlds.night_world import latest_of, transra, workspace_of

pytestmark = pytest.mark.reports


class Tags(HTMLParser):
    """The tags and comments of a page, as a browser would find them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.comments: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_world(tmp_path)
    return tmp_path


def section(page: str, id: str) -> str:
    found = re.search(rf'<section id="{id}".*?</section>', page, re.DOTALL)
    assert found
    return found[0]


def test_a_run_leaves_a_page_that_is_made_anew_only_where_something_changed(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert transra(root, "run") == 0
    page = latest_of(root).path / REPORT
    assert f"report: {page}" in capsys.readouterr().out
    made = page.read_text()
    assert "published" in made and "No network" not in made
    assert transra(root, "run", "--json") == 0
    assert json.loads(capsys.readouterr().out)["report"] == str(page)
    assert page.read_text() == made, "written at another time, it would differ"
    assert transra(root, "report") == 0
    assert "report: up to date" in capsys.readouterr().out
    page.write_text(made[: len(made) // 2].replace("transra-report", "x"))
    assert transra(root, "report") == 0
    assert len(page.read_text()) > len(made) // 2


def test_nothing_of_a_log_is_markup(root: Path) -> None:
    assert transra(root, "run") == 0
    page = (latest_of(root).path / REPORT).read_text()
    found = Tags(page)
    assert found.tags.count("script") == 3 and found.comments == []
    assert not {"img", "svg", "b"} & set(found.tags)
    assert "onerror=window" in page, "it is there as text"
    neighbors = section(page, "neighbors")
    assert "titled &lt;img src=x" in neighbors, "and labels are, beside ids"
    assert neighbors.count("<pre") == 8 and "near in the anchor space" in neighbors and "\u202e" not in neighbors
    charts = re.search(r'<script type="application/json" id="charts">(.*?)</script>', page, re.DOTALL)
    assert charts and HOSTILE[0] in json.dumps(json.loads(charts[1])), "and in what is drawn"


def test_a_rejected_night_has_a_page_that_says_why(root: Path) -> None:
    assert transra(root, "run") == 0
    write_world(root, seed=1, gate={"edges": 1e-9})
    assert transra(root, "run") == 65
    rejected = workspace_of(root).runs()[0]
    page = (rejected.path / REPORT).read_text()
    assert '<p class="verdict rejected">' in page and "gate.edges" in page
    assert "Neighbours kept since" in section(page, "drift"), "and beside the published one"


def broken(*arguments: object) -> str:
    raise OSError(errno.ENOSPC, "No space left on device", "report.html")


def test_a_page_that_cannot_be_made_takes_nothing_back(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run is published, the exit code says so, and one line says what is missing; a rejected one stays rejected."""
    with monkeypatch.context() as patch:
        patch.setattr("pipeline.report.page.page", broken)
        assert transra(root, "run", "--quiet") == 0
        (line,) = capsys.readouterr().err.splitlines()
        first = latest_of(root)
        assert line.startswith("transra: warning: report: not made (") and "No space left on device" in line
        assert (
            f"all else is done, latest is {first.id}; `transra report " in line and not (first.path / REPORT).exists()
        )
        assert '"message": "report failed' in (first.path / "log.jsonl").read_text()
        assert transra(root, "run", "--json") == 0
        assert "report" not in json.loads(capsys.readouterr().out)
        assert transra(root, "report") == 73, "who asks for the page alone is told that it is not there"
        write_world(root, seed=1, gate={"edges": 1e-9})
        capsys.readouterr()
        assert transra(root, "run") == 65
        warning, reason = capsys.readouterr().err.splitlines()
        assert "warning: report: not made" in warning and "is rejected, latest stays" in reason
    assert transra(root, "report") == 0 and (first.path / REPORT).exists()


@pytest.mark.slow
def test_pages_follow_promotions_and_rollbacks(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of both runs, and without them the run is published all the same."""
    assert transra(root, "run") == 0
    first = latest_of(root)
    write_world(root, seed=1)
    assert transra(root, "run") == 0
    second = latest_of(root)
    assert transra(root, "rollback") == 0
    assert "rolled back to" in (second.path / REPORT).read_text() and latest_of(root) == first
    assert '<p class="verdict published">' in (first.path / REPORT).read_text()
    assert transra(root, "promote", second.id) == 0
    assert '<p class="verdict published">' in (second.path / REPORT).read_text()
    assert '<p class="verdict published">' not in (first.path / REPORT).read_text()
    capsys.readouterr()
    monkeypatch.setattr("pipeline.report.page.page", broken)
    assert transra(root, "rollback", "--quiet") == 0 and latest_of(root) == first
    warnings = capsys.readouterr().err.splitlines()
    assert len(warnings) == 2 and all("warning: report: not made" in line for line in warnings)


def test_what_is_missing_is_said_and_not_drawn(root: Path) -> None:
    assert transra(root, "run", "--until", "partition") == 0
    page = (workspace_of(root).runs()[0].path / REPORT).read_text()
    for id, words in (
        ("training", "no trained model"),
        ("evaluation", "has not been evaluated"),
        ("ranker", "no ranker"),
        ("map", "no export yet"),
        ("neighbors", "no export yet"),
    ):
        assert words in section(page, id) and 'class="chart"' not in section(page, id)
    assert 'class="chart"' in section(page, "graph")


def test_without_the_library_a_run_says_so_and_is_whole(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(view, "LIBRARY", "no_such_library")
    assert transra(root, "run") == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("report:")]
    assert "left out" in line and "transra[report]" in line
    assert not (latest_of(root).path / REPORT).exists()
    assert transra(root, "report") == 2


def test_a_run_that_is_not_there_is_refused(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert transra(root, "report") == 2
    assert transra(root, "run", "--until", "partition") == 0
    assert transra(root, "report", "--run", "20200101T000000.000Z-00000000") == 2
    assert workspace_of(root).runs()[0].id in capsys.readouterr().err


def test_popularity_is_that_of_training_edges_without_known_answers(root: Path) -> None:
    assert transra(root, "partition") == 0
    directory = workspace_of(root).runs()[0].directory("partition")
    graph, edges = load_graph(directory), {}
    starts = {kind.name: np.concatenate([[0], np.cumsum(kind.counts)]) for kind in graph.entity_types}
    for split in ("train", "valid", "test"):
        edges[split] = []
        for bucket in graph.buckets():
            with BucketFile(bucket_path(directory, split, bucket)) as file:
                heads, tails, kinds = file.columns()
            heads, tails = heads + starts["user"][bucket.lhs], tails + starts["pin"][bucket.rhs]
            edges[split] += list(zip(kinds.tolist(), heads.tolist(), tails.tolist(), strict=True))
    found, note = popularity(directory, graph, "test", ["click"], 5)
    index = [relation.name for relation in graph.relations].index("click")
    counts = np.bincount([tail for kind, _, tail in edges["train"] if kind == index], minlength=40)
    shares = []
    for head in {head for kind, head, _ in edges["test"] if kind == index}:
        known = {t for split in ("train", "valid") for kind, h, t in edges[split] if (kind, h) == (index, head)}
        wanted = {t for kind, h, t in edges["test"] if (kind, h) == (index, head)} - known
        best = [t for t in np.argsort(-counts, kind="stable").tolist() if t not in known][:5]
        shares += [len(wanted & set(best)) / len(wanted)] if wanted else []
    assert found == {"click": pytest.approx(np.mean(shares))} and 0 < found["click"] < 1
    assert "training edges of the relation" in note

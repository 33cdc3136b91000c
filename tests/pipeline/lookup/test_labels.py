"""Labels: names beside ids, from a source to every answer; and of nobody who is not in the graph."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from artifacts.embeddings import Embeddings
from artifacts.errors import DataError
from artifacts.formats.graph import labels_path
from partitioning.config.checks import graph_problems
from partitioning.config.sections import GraphConfig
from tests.worlds.night_world import latest_of, transra, write_config, write_day

HOSTILE = "<b onclick='x()'>\x1b[31m\u202e\nred\u4e2d" + "\u4e2d" * 60
LABEL = {"source": "titles", "column": "pin", "text": "title"}


def write_world(root: Path, **graph: Any) -> None:
    """Pins with titles: p1's is hostile, p2 has two, p3 none, p4 an empty one, and one is of no pin."""
    write_day(root, 0)
    write_config(root)
    pins = [f"p{pin}" for pin in range(24) if pin not in (1, 2, 3, 4)]
    rows = [*((pin, f"Title of {pin}") for pin in pins), ("p1", HOSTILE), ("p2", "zebra"), ("p2", "ant"), ("p4", "")]
    titles = pd.DataFrame([*rows, ("gone", "Nobody's")], columns=["pin", "title"])
    titles.to_parquet(root / "titles.parquet")
    raw = json.loads((root / "c.json").read_text())
    raw["graph"]["sources"]["titles"] = {"path": "titles.parquet"}
    raw["graph"]["entities"]["pin"] = {"label": LABEL}
    raw["graph"] |= graph
    (root / "c.json").write_text(json.dumps(raw))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("labels")
    write_world(root)
    for stage in ("partition", "train", "export"):
        assert transra(root, stage, "--quiet") == 0
    return root


def answered(capsys: pytest.CaptureFixture[str], root: Path, *words: str) -> dict[str, Any]:
    capsys.readouterr()
    assert transra(root, *words, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert isinstance(found, dict)
    return found


def test_an_export_has_them_by_row_and_by_id(root: Path) -> None:
    export = Embeddings.open(latest_of(root).path)
    labels = export.labels("pin")
    assert labels is not None and export.labels("user") is None
    expected = {f"p{pin}": f"Title of p{pin}" for pin in range(24)}
    expected |= {"p1": HOSTILE[:200], "p2": "ant", "p3": "", "p4": ""}
    assert dict(zip(export.ids("pin").to_pylist(), labels.to_pylist(), strict=True)) == expected
    assert (export.label("pin", "p2"), export.label("pin", "p3"), export.label("pin", "gone")) == ("ant", None, None)
    assert export.label("user", "u1") is None
    counts = latest_of(root).metrics()["partition"]["labelled"]
    assert counts == {"pin": {"found": 22, "several": 1}}
    assert not labels_path(latest_of(root).directory("partition"), "user", 0).exists()


def test_neighbors_and_explain_show_them(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Beside the id, on a line of 80 columns that obeys nothing of the data."""
    near = answered(capsys, root, "neighbors", "user", "u1", "--to", "pin", "--k", "24")["neighbors"]
    shown = {one["id"]: one.get("label") for one in near}
    assert (shown["p5"], shown["p1"], shown["p3"]) == ("Title of p5", HOSTILE[:200], None)
    assert {*near[0]} <= {"type", "id", "label", "similarity"}
    why = answered(capsys, root, "explain", "u1", "p5", "--k", "100")
    assert why["ad"] == {"type": "pin", "id": "p5", "label": "Title of p5"} and "label" not in why["user"]
    assert {one["label"] for one in why["supporting"]} <= {*shown.values()}
    for words in (("neighbors", "user", "u1", "--to", "pin", "--k", "24"), ("explain", "u1", "p1", "--k", "100")):
        assert transra(root, *words) == 0
        text = capsys.readouterr().out
        assert "\\x1b[31m\\u202e\\nred" in text and not {"\x1b", "\u202e"} & {*text}
        assert max(len(line) + line.count("\u4e2d") for line in text.splitlines()) <= 80


BLANK = (
    "",
    " ",
    "\t",
    "\n\n",
    "\r\n",
    "\u00a0",
    "\u3000",
    "\u2028",
    "\u200b",
    "\ufeff\u2060",
    "\u00ad",
    "\x1f",
    "\x00",
)
VISIBLE = (".", "\u200bx", " a", "\t1\n", "\u4e2d", "\U0001f600", "\u0301", "-" * 300, "\u200f\u05d0")


def test_a_label_has_something_to_see(tmp_path: Path) -> None:
    """Neither space, control nor format alone; a blank one leaves another of the same id its place."""
    write_world(tmp_path)
    texts = [*BLANK, *VISIBLE, " " * 200 + "too late"]
    rows = [(f"p{pin}", text) for pin, text in enumerate(texts)] + [("p0", "seen")]
    pd.DataFrame(rows, columns=["pin", "title"]).to_parquet(tmp_path / "titles.parquet")
    for stage in ("partition", "train", "export"):
        assert transra(tmp_path, stage, "--quiet") == 0
    export = Embeddings.open(latest_of(tmp_path).path)
    expected = ["seen", *(None for _ in BLANK[1:]), *(text[:200] for text in VISIBLE), None]
    assert [export.label("pin", f"p{pin}") for pin in range(len(texts))] == expected
    counts = latest_of(tmp_path).metrics()["partition"]["labelled"]["pin"]
    assert counts == {"found": len(VISIBLE) + 1, "several": 0}


def test_a_new_table_of_labels_counts_no_edge_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Labels are read in whole each night, also of ids that a ledger has settled."""
    write_world(tmp_path)
    raw = json.loads((tmp_path / "c.json").read_text())
    raw["graph"] |= {"split": {}}
    raw["graph"]["sources"]["log"]["append_only"] = True
    (tmp_path / "c.json").write_text(json.dumps(raw))
    for stage in ("partition", "train", "export"):
        assert transra(tmp_path, stage, "--quiet") == 0
    write_day(tmp_path, 1)
    pd.DataFrame({"pin": ["p5"], "title": ["Another"]}).to_parquet(tmp_path / "titles.parquet")
    for stage in ("partition", "train", "export"):
        assert transra(tmp_path, stage, "--quiet") == 0
    run = latest_of(tmp_path)
    assert (run.metrics()["partition"]["files_settled"], run.metrics()["partition"]["recounted"]) == (1, [])
    export = Embeddings.open(run.path)
    assert (export.label("pin", "p5"), export.label("pin", "p6")) == ("Another", None)


def test_without_a_label_nothing_is_written_and_nothing_is_stale(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_day(tmp_path, 0)
    write_config(tmp_path)
    assert transra(tmp_path, "partition") == 0
    (run,) = (tmp_path / "runs/c").glob("2*")
    assert not (run / "graph/labels").exists()
    said = json.loads((run / "graph/stage.json").read_text())["parts"]["config"]["entities"]
    assert "label" not in said["user"], "the fingerprint is that of before there were labels"


@pytest.mark.parametrize(
    ("changed", "code", "said"),
    [
        ({"source": "titels"}, 2, "graph.entities.pin.label.source: unknown source 'titels', did you mean 'titles'?"),
        ({"text": "titel"}, 65, "source 'titles' has no column 'titel', did you mean 'title'?"),
        ({"column": "pins"}, 65, "source 'titles' has no column 'pins', did you mean 'pin'?"),
    ],
)
def test_what_is_not_there_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], changed: dict[str, str], code: int, said: str
) -> None:
    write_world(tmp_path, entities={"user": {}, "pin": {"label": LABEL | changed}})
    assert transra(tmp_path, "partition") == code
    assert said in capsys.readouterr().err


def test_what_no_label_may_say_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Names of people whose consent is asked for, and what a pseudonym hides."""
    write_world(tmp_path)
    override = ("--set", "graph.entities.user.label={source: 'titles', column: 'pin', text: 'title'}")
    consent = ("--set", "graph.consent={source: 'titles', type: 'user', column: 'pin'}")
    assert transra(tmp_path, "partition", *override, *consent) == 2
    assert "graph.entities.user.label: consent is given by 'user'" in capsys.readouterr().err
    assert transra(tmp_path, "partition", "--set", "graph.ids={hash: 'hmac-sha256', key_env: 'K'}") == 2
    assert "graph.entities.pin.label: with graph.ids" in capsys.readouterr().err
    assert transra(tmp_path, "partition", "--set", "graph.sources.titles.append_only=true") == 2
    assert "'titles' is append_only, and labels are read in whole" in capsys.readouterr().err


CONSENT = {"source": "consent", "type": "user", "column": "user", "where": "agreed"}
TWIN = {"name": "twin", "source": "titles", "domain": "side"}
PIN, USER, OWNER = ({"type": type, "column": type} for type in ("pin", "user", "owner"))
BUY = {"name": "buy", "source": ["shop"], "domain": "offsite", "lhs": USER, "rhs": PIN}
LOOKED_UP = PIN | {"join": {"source": "titles", "column": "title", "to": "pin2"}}


@pytest.mark.parametrize(
    ("label", "graph", "said"),
    [
        (
            {"source": "log", "text": "user"},
            {"consent": CONSENT},
            "label.text: 'user' holds ids that relation 'click' reads: of whoever did not agree, a label would keep",
        ),
        *(
            (
                {"text": "title"},
                {"forget": {"source": "gone"}, **more},
                f"label.text: 'title' holds {what}: of whoever is forgotten",
            )
            for what, more in (
                ("ids that relation 'twin' reads", {"more": [TWIN | {"lhs": PIN, "rhs": OWNER | {"column": "title"}}]}),
                (
                    "ids that relation 'twin' looks up",
                    {"more": [TWIN | {"source": "log", "lhs": USER, "rhs": LOOKED_UP}]},
                ),
                ("ids of those to forget", {"forget": {"source": "titles", "column": "title"}}),
            )
        ),
        (
            {"source": "log", "text": "user"},
            {"forget": {"source": "gone"}},
            "'user' holds ids that relation 'click' reads",
        ),
        ({"source": "consent", "text": "user"}, {"consent": CONSENT}, "'user' holds ids of those whose consent is"),
        (
            {"source": "shop"},
            {
                "consent": CONSENT,
                "more": [BUY],
            },
            "label.source: 'shop' is read by offsite relation 'buy' for people who agreed, and labels would be",
        ),
        (
            {"source": "shop"},
            {
                "consent": {"assumed": "all of them signed"},
                "more": [BUY],
            },
            None,
        ),
        *(
            ({"source": "twin", "text": text}, {"consent": CONSENT, "twin": twin, "more": [BUY]}, said)
            for text, twin, said in (
                ("user", "log", "label.text: 'user' holds ids that relation 'click' reads: of whoever did not agree"),
                ("title", "shop", "label.source: 'twin' is read by offsite relation 'buy' for people who agreed"),
                ("title", "log", None),
            )
        ),
        ({"text": "pin"}, {"forget": {"source": "gone"}}, None),
        ({"text": "pin", "source": "log"}, {"forget": {"source": "gone"}, "consent": CONSENT}, None),
        ({}, {"forget": {"source": "gone"}, "consent": CONSENT}, None),
        ({"source": "log", "text": "user"}, {}, None),
    ],
)
def test_a_label_may_name_nobody_who_is_left_out(
    label: dict[str, str], graph: dict[str, Any], said: str | None
) -> None:
    """Its ids, though not its own, and rows of people who did not agree; by whichever name the file is read."""
    graph = {**graph}
    graph = {
        "sources": {
            **{name: {"path": f"{name}.parquet"} for name in ("log", "titles", "shop", "consent", "gone")},
            "twin": {"path": [f"{graph.pop('twin', 'twin')}.parquet"]},
        },
        "entities": {"user": {}, "owner": {}, "pin": {"label": LABEL | label}},
        "relations": [{"name": "click", "source": "log", "lhs": USER, "rhs": PIN}, *graph.pop("more", [])],
        **graph,
    }
    found = [
        "; ".join((".".join(map(str, path)), text)) for path, text in graph_problems(GraphConfig.model_validate(graph))
    ]
    assert len(found) == (said is not None)
    if said:
        assert said in found[0].replace("; ", ": ", 1)


def test_a_label_that_may_name_somebody_is_exit_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_world(tmp_path, entities={"user": {}, "pin": {"label": LABEL | {"source": "log", "text": "user"}}})
    forget = ("--set", "graph.forget={source: 'titles', column: 'pin', type_column: 'title'}")
    assert transra(tmp_path, "partition", *forget) == 2
    assert "graph.entities.pin.label.text: 'user' holds ids that relation 'click' reads" in capsys.readouterr().err


def test_labels_that_do_not_fit_are_refused(root: Path, tmp_path: Path) -> None:
    import h5py

    whole = Embeddings.open(latest_of(root).path).path
    for damage in ("offsets", "bytes", "descending"):
        path = tmp_path / f"{damage}.h5"
        path.write_bytes(whole.read_bytes())
        with h5py.File(path, "r+") as file:
            labels = file["entities/pin/labels"]
            if damage == "descending":
                labels["offsets"][3] = 10**6
            else:
                values = labels[damage][:-1]
                del labels[damage]
                labels.create_dataset(damage, data=values)
        with pytest.raises(DataError, match="labels"):
            Embeddings(path).labels("pin")

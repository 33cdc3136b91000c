"""A published model scores as the one that was trained, and refuses what training would not have read."""

import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import ranker
from artifacts.errors import ConfigError, DataError
from ranker.data.ids.exports import Export
from ranker.experiment import model_directory
from ranker.model.program import write_program
from ranker.scoring.columns import block_of
from ranker.scoring.scorer import Predictions
from tests.worlds.small_impressions import START, SmallWorld, config, small_world, write_run

ROWS = 2500  # more than two batches
ARMS = ("none", "init_finetune", "id_concat", "attention")  # each table in turn: none, tuned vectors, ids, all
TIMED = {"recent": {"type": "pin", "side": "user", "cap": 5, "times": "recent_ts"}}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> SmallWorld:
    """The small world, whose lists have times."""
    world = small_world(tmp_path_factory.mktemp("world"), rows=ROWS)
    happened = [
        [int(ts) - 60 * 4**place for place in range(len(ids))]
        for ts, ids in zip(world.columns["ts"], world.columns["recent"], strict=True)
    ]
    world.columns["recent_ts"] = pa.array(happened, pa.list_(pa.int64()))
    world.write()
    return world


def settings(arm: str, **changes: Any) -> ranker.RankerConfig:
    return config(fit={"arm": arm}, slots={**config().model_dump()["slots"], **TIMED}, **changes)


def fitted(world: SmallWorld, out: Path, arm: str = "attention", **changes: Any) -> dict[str, Any]:
    return ranker.fit(settings(arm, **changes), world.root, Export(world.export, START - 1), out)


class Models:
    """Models of the small world by arm, each with what the trained network said of all rows."""

    def __init__(self, world: SmallWorld, root: Path) -> None:
        self.world, self.root, self._made = world, root, {}

    def __call__(self, arm: str) -> tuple[Path, Predictions]:
        if arm not in self._made:
            self._made[arm] = self._fit(arm)
        return self.root / arm, self._made[arm]

    def _fit(self, arm: str) -> Predictions:
        seen: list[Predictions] = []

        def first(self: Any, config: Any, log: Any, trained: Any, export: Any, prepared: Path, key: Any) -> None:
            with torch.no_grad():
                records = np.fromfile(prepared / "train.bin", trained.first.dtype)
                seen.append(model_directory.logits_of(trained.model, records, 0))
            write(self, config, log, trained, export, prepared, key)

        write = model_directory.ModelDirectory.write
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(model_directory.ModelDirectory, "write", first)
            fitted(self.world, self.root / arm, arm)
        return seen[0]


@pytest.fixture(scope="module")
def models(world: SmallWorld, tmp_path_factory: pytest.TempPathFactory) -> Models:
    return Models(world, tmp_path_factory.mktemp("models"))


@pytest.fixture
def scorer(models: Models) -> "ranker.Scorer":
    return ranker.Scorer(models("attention")[0])


def rows(world: SmallWorld, first: int = 0, count: int = ROWS, **changes: Any) -> dict[str, Any]:
    table = pa.table(world.columns).slice(first, count)
    return {**{name: table[name] for name in table.column_names}, **changes}


@pytest.mark.parametrize("arm", ARMS)
def test_the_log_is_scored_as_by_the_model_that_was_trained(models: Models, world: SmallWorld, arm: str) -> None:
    directory, logits = models(arm)
    found = ranker.Scorer(directory).score(rows(world))
    assert set(found) == {"click", "conversion"}
    for task, name in (("ctr", "click"), ("cvr", "conversion")):
        expected = 1 / (1 + np.exp(-logits[task].astype(np.float64)))
        assert expected.std() > 0.01 and np.abs(found[name] - expected).max() < 1e-6
    assert not {path.name for path in directory.iterdir()} & {"prepared", "training"}


def test_columns_may_come_as_lists_arrays_frames_and_tables(scorer: "ranker.Scorer", world: SmallWorld) -> None:
    table = pa.table(rows(world, count=40))
    expected = scorer.score(table)
    as_lists = {name: table[name].to_pylist() for name in scorer.columns}
    as_arrays = {name: table[name].to_pandas().to_numpy() for name in scorer.columns}
    frame = table.to_pandas()
    for given in (as_lists, as_arrays, frame, frame[list(scorer.columns)].sample(frac=1, random_state=0).sort_index()):
        for name, found in scorer.score(given).items():
            assert np.array_equal(found, expected[name])


def test_a_row_scores_the_same_in_any_company(scorer: "ranker.Scorer", world: SmallWorld) -> None:
    whole = scorer.score(rows(world, count=8))
    assert scorer.score(rows(world, count=0))["click"].shape == (0,)
    for row in range(8):
        for name, found in scorer.score(rows(world, row, 1)).items():
            assert found == pytest.approx(whole[name][row : row + 1], abs=1e-6)


def test_what_training_has_not_seen_scores_as_unknown(scorer: "ranker.Scorer", world: SmallWorld) -> None:
    unknown = rows(world, count=3, user_id=["new", None, "u1"], device=["toaster", None, "web"], age=[None, 1e99, 40.0])
    found = scorer.score(unknown | {"recent": [[], None, ["new"]], "recent_ts": [[], None, [START]]})
    assert np.isfinite(found["click"]).all() and found["click"].std() > 0
    none = {"recent": [None] * 3, "recent_ts": [None] * 3}
    typed = {name: pa.array(values, world.columns["recent_ts"].type) for name, values in none.items()}
    typed["recent"] = typed["recent"].cast(pa.list_(pa.string()))
    np.testing.assert_array_equal(scorer.score(unknown | none)["click"], scorer.score(unknown | typed)["click"])
    times = [[START - place for place in range(9)]]
    one, other = (
        scorer.score(rows(world, count=1, recent=[[f"p{id}" for id in ids]], recent_ts=times))
        for ids in (range(9), [0, 1, 2, 3, 4, 11, 12, 13, 14])  # the same up to the cap
    )
    assert one["click"] == other["click"]


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "numbers for text": ({"user_id": [1, 2, 3]}, "column user_id is integer, but text in training"),
    "text for numbers": ({"age": ["1", "2", "3"]}, "column age is text, but a number in training"),
    "one for a list": ({"recent": ["p1"] * 3}, "column recent is text, but a list of text in training"),
    "a list for one": ({"pin_id": [["p1"]] * 3}, "column pin_id is a list of text"),
    "too short": ({"pin_id": ["p1"]}, "column pin_id has 1 rows, but user_id has 3"),
    "one for all": ({"user_id": "u1"}, "column user_id is a str, expected a value for every row"),
    "mixed": ({"device": ["web", 1, None]}, "column device: no values of one type"),
    "other times": ({"recent_ts": [[], [], [1]]}, "row 0: recent_ts has 0 times for the"),
    "another unit": (
        {"ts": [1_767_225, 1_767_226, 1_767_227], "recent": [["p1"]] * 3, "recent_ts": [[1_767_220]] * 3},
        "row 0: ts is 1970-01-21T10:53:45Z, but from 2026-01-01T00:0",
    ),
    "a set": ({"user_id": {"u1", "u2", "u3"}}, "column user_id is a set, expected a value for every row"),
    "the future": (
        {"ts": [START - 86_400] * 3},
        "recent_ts has a time after the impression's (ranker.slots.recent.times)",
    ),
    "no time": ({"ts": [None, None, 5]}, "row 0: ts is missing, expected a time"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_training_would_not_read_is_refused(scorer: "ranker.Scorer", world: SmallWorld, kind: str) -> None:
    changes, message = BAD[kind]
    refused(scorer, rows(world, 3, 3, **changes), message)


@pytest.mark.parametrize("name", ["user_id", "recent", "recent_ts", "ts", "device", "age"])
def test_a_missing_column_is_named(scorer: "ranker.Scorer", world: SmallWorld, name: str) -> None:
    without = {other: values for other, values in rows(world, 0, 3).items() if other != name}
    refused(scorer, without, f"no column '{name}', in training ")
    refused(scorer, pa.table(without), f"no column '{name}', in training ")


def test_a_column_that_a_file_has_twice_is_named(models: Models, world: SmallWorld, tmp_path: Path) -> None:
    table = pa.table(rows(world, 0, 3))
    pq.write_table(table.append_column("age", table["user_id"]), path := tmp_path / "twice.parquet")
    with pytest.raises(DataError, match="twice.parquet: has two columns 'age'; rename one"):
        directory, export = models("attention")[0], Export(world.export, None)
        ranker.score_parquet(config(), directory, str(path), tmp_path / "out.parquet", export, None, lambda done: None)


def refused(scorer: "ranker.Scorer", columns: Mapping[str, Any] | pa.Table, message: str) -> None:
    with pytest.raises(DataError) as caught:
        scorer.score(columns)
    (line,) = caught.value.lines
    assert line.startswith("columns") and message in line and "\n" not in line, line


def test_threads_share_a_scorer(scorer: "ranker.Scorer", world: SmallWorld) -> None:
    parts = [rows(world, first, 50) for first in range(0, 400, 50)]
    expected = [scorer.score(part)["click"] for part in parts]
    wrong: list[int] = []

    def work(index: int) -> None:
        for _ in range(5):
            if not np.array_equal(scorer.score(parts[index])["click"], expected[index]):
                wrong.append(index)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(parts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_opening_loads_no_training_code(models: Models) -> None:
    rooms = ("ranker.training", "ranker.experiment", "ranker.evaluation", "ranker.model")
    code = (
        f"import sys, ranker; before = {{*sys.modules}}; ranker.Scorer({str(models('attention')[0])!r}); "
        f"print([name for name in {{*sys.modules}} - before if name.startswith({(*rooms, 'duckdb')})])"
    )
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout == "[]\n"


def copied(models: Models, tmp_path: Path) -> Path:
    shutil.copytree(models("attention")[0], tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize(
    "name", ["manifest.json", "transforms.json", "network.json", "network.npz", "ids.npy", "embeddings.h5"]
)
@pytest.mark.parametrize("harm", ["missing", "cut", "empty"])
def test_a_broken_directory_is_named(models: Models, tmp_path: Path, name: str, harm: str) -> None:
    path = copied(models, tmp_path) / name
    whole = path.read_bytes()
    path.unlink()
    if harm != "missing":
        path.write_bytes(whole[: len(whole) // 2] if harm == "cut" else b"")
    with pytest.raises(DataError) as caught:
        ranker.Scorer(path.parent)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


def step(name: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
    return {"steps": [[name, list(args), kwargs]]}


FIRST = {"value": 0}
HARM: dict[str, dict[str, Any]] = {
    "no operator": step("os.system", "true"),
    "another library": step("prim.Print.default", FIRST),
    "a file": step("aten.from_file.default", "/etc/passwd", None, 10),
    "a change": step("aten.add_.Tensor", FIRST, FIRST),
    "a method": step("aten.linear.__class__", FIRST),
    "unknown": step("aten.nothing.default", FIRST),
    "a value that is not there": step("aten.relu.default", {"value": 1 << 40}),
    "its own value": step("aten.relu.default", {"value": -1}),
    "no constant": step("aten.to.dtype", FIRST, {"dtype": "load"}),
    "no kind": step("aten.to.dtype", FIRST, {"eval": "exit()"}),
    "an output that is not there": {"outputs": {"ctr": 1 << 40}},
}


@pytest.mark.parametrize("kind", HARM)
def test_a_network_that_would_do_more_than_compute_is_not_opened(models: Models, tmp_path: Path, kind: str) -> None:
    path = copied(models, tmp_path) / "network.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | HARM[kind]))
    with pytest.raises(DataError, match="expected operators of ATen and their arguments") as caught:
        ranker.Scorer(path.parent)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


def test_a_network_that_no_scorer_would_run_is_not_written(tmp_path: Path) -> None:
    """A fault of ours, so no DataError."""

    class Module(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + torch.tensor((1, 2))

    program = torch.export.export(Module(), (torch.zeros(2),), strict=False)
    with pytest.raises(TypeError, match=r"^aten\.detach_\.default in the exported network changes its arguments$"):
        write_program(program, ["click"], tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_exported_network_is_there_for_other_runtimes(models: Models, world: SmallWorld) -> None:
    directory, logits = models("attention")
    program, scorer = torch.export.load(directory / "network.pt2"), ranker.Scorer(directory)
    encoded = scorer._encoder.encode(block_of(rows(world, count=20), scorer.wanted))
    with torch.no_grad():
        found = program.module()(*scorer._tables.inputs(encoded))
    assert found["ctr"].numpy() == pytest.approx(logits["ctr"][:20], abs=1e-5)


def test_pseudonyms_are_made_with_the_key_of_training(world: SmallWorld, tmp_path: Path) -> None:
    key = b"0123456789abcdef"
    export = Export(world.export, START - 1)
    ranker.fit(settings("id_only", min_match_rate=0), world.root, export, tmp_path / "model", id_key=key)
    for other, found in ((None, "no key"), (b"another key of 16", "another key")):
        with pytest.raises(ConfigError, match=f"its ids are pseudonyms, found {found}"):
            ranker.Scorer(tmp_path / "model", other)
    assert ranker.Scorer(tmp_path / "model", key).score(rows(world, 0, 5))["click"].shape == (5,)


def test_a_fit_that_was_killed_is_no_model_and_goes_on(world: SmallWorld, tmp_path: Path) -> None:
    out, steps = tmp_path / "model", 0

    def watch(step: str, fraction: float) -> None:
        nonlocal steps
        steps += "all days" in step
        if steps == 2:
            raise KeyboardInterrupt

    export = Export(world.export, START - 1)
    with pytest.raises(KeyboardInterrupt):
        ranker.fit(settings("attention", training=EVERY), world.root, export, out, watch)
    with pytest.raises(DataError, match=r"manifest\.json: expected the manifest of a scorer"):
        ranker.Scorer(out)
    ranker.fit(settings("attention", training=EVERY), world.root, export, out)
    ranker.fit(settings("attention", training=EVERY), world.root, export, tmp_path / "whole")
    one, other = (ranker.Scorer(path).score(rows(world)) for path in (out, tmp_path / "whole"))
    assert np.array_equal(one["click"], other["click"])


EVERY = {"batch_size": 100, "eval_every": 10}


def test_a_model_that_its_scorer_contradicts_is_not_published(
    world: SmallWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ranker.scoring.encoder.age_buckets", lambda ages: np.zeros(ages.shape, np.uint8))
    with pytest.raises(RuntimeError, match="a scorer's click differs by"):
        fitted(world, tmp_path / "model", "none")
    assert not (tmp_path / "model" / "manifest.json").exists()


def test_a_fit_tells_what_follows_its_last_step(world: SmallWorld, tmp_path: Path) -> None:
    """All in order, so that no line says that it trains while it traces the network."""
    told: list[tuple[str, float]] = []
    export = Export(world.export, START - 1)
    ranker.fit(settings("id_only"), world.root, export, tmp_path, lambda step, done: told.append((step, done)))
    shares = [done for _, done in told]
    assert shares == sorted(shares) and shares[-1] < 1
    assert [step for step, _ in told][-3:] == [
        "the intercept of id_only",
        "calibration on the newest rows",
        "the scorer is written, and compared with the model",
    ]


def test_configs_without_an_arm_to_fit(world: SmallWorld, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"ranker\.fit: missing"):
        ranker.fit(config(), world.root, None, tmp_path)
    with pytest.raises(ConfigError, match="arm 'attention' reads graph vectors, and there is no export"):
        ranker.fit(settings("attention"), world.root, None, tmp_path)
    (problem,) = ranker.RankerConfig(**{**config().model_dump(), "fit": {"arm": "atention"}}).problems()
    assert problem.path == ("fit", "arm") and "did you mean 'attention'" in problem.message


def test_a_graph_that_has_seen_the_labels_is_refused(world: SmallWorld, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="it has seen the labels"):
        ranker.fit(settings("attention"), world.root, Export(world.export, START + 86_400), tmp_path)


def test_frames_of_pandas_alone(world: SmallWorld, tmp_path: Path) -> None:
    """Nothing is read from files but the export."""
    frame = pd.DataFrame(pa.table(world.columns).to_pandas())
    told = ranker.fit(settings("none"), tmp_path, None, tmp_path / "model", impressions=frame)
    assert told["rows"]["rows"] == ROWS
    found = ranker.Scorer(tmp_path / "model").score(frame)
    assert found["click"].mean() == pytest.approx(frame["click"].mean(), rel=0.2)


def test_the_example_of_the_docs(
    world: SmallWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = Path(__file__).resolve().parents[3] / "docs/ranking.md"
    examples = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    (example,) = (one for one in examples if "ranker.Scorer(" in one)
    write_run(tmp_path / "runs/demo_rank/latest", world.export)
    (tmp_path / "data/demo").mkdir(parents=True)
    (tmp_path / "data/demo/impressions").symlink_to(world.root / "log")
    monkeypatch.chdir(tmp_path)
    exec(compile(example, str(page), "exec"), {})
    assert re.search(r"u1 +p3 +1 +0\.\d+", capsys.readouterr().out)


def test_a_row_that_is_no_impression_stands_for_nobody(models: Models, world: SmallWorld) -> None:
    """`ranker.where` says which rows are impressions, also where the newest one of a user is looked up."""
    users, times = np.array(world.columns["user_id"]), np.asarray(world.columns["ts"])
    user = next(user for user in users[::-1] if (users == user).sum() > 2)
    before, last = times[users == user][-2:]
    log = dict.fromkeys(sorted((world.root / "log").iterdir()), {})
    ids, export = (user, "p0"), Export(world.export, START - 1)
    for where, moment in ((None, last), (f"ts <> {last}", before), ("campaign = 'none of them'", None)):
        config = settings("attention", where=where)
        found = ranker.explain_pair(config, models("attention")[0], log, ("user", "pin"), ids, export, None)
        assert (found and found["time"]) == moment


def test_a_pair_is_seen_as_the_log_has_it(world: SmallWorld, tmp_path: Path) -> None:
    """Types and directories are the log's: a float32 as another float is another text, an id is no text there."""
    times = np.array(world.columns["ts"])
    table = pa.table(world.columns).append_column("size", pa.array(times % 7 / 10, pa.float32()))
    users = pa.array([int(user[1:]) for user in world.columns["user_id"]])
    for site, kind, first in (("a", pa.int32(), 0), ("b", pa.int64(), ROWS // 2)):
        part = table.set_column(table.column_names.index("user_id"), "user_id", users.cast(kind))
        (tmp_path / "log" / f"site={site}").mkdir(parents=True)
        pq.write_table(part.slice(first, ROWS // 2), tmp_path / "log" / f"site={site}" / "part-0.parquet")
    chosen = settings(
        "none", impressions="log", categoricals=["site", "size"], counts=[["user_id"], ["size", "pin_id"]]
    )
    ranker.fit(chosen, tmp_path, None, tmp_path / "model")

    def asked(user: str, pin: str) -> dict[str, Any]:
        files, export = ranker.impression_files(chosen, tmp_path), Export(world.export, START - 1)
        found = ranker.explain_pair(chosen, tmp_path / "model", files, ("user", "pin"), (user, pin), export, None)
        assert found is not None
        return found

    last = part.slice(int(np.argmax(times)), 1).append_column("site", pa.array(["b"]))
    user, pin = str(last["user_id"][0]), str(last["pin_id"][0])
    scorer = ranker.Scorer(tmp_path / "model")
    assert asked(user, pin)["predictions"]["click"]["graph"] == scorer.score(last)["click"][0]
    other = last.set_column(last.column_names.index("user_id"), "user_id", pa.array([987654]))
    newest = asked("987654", pin)
    assert newest["row"] == "the newest impression of the other, with user_id = 987654"
    assert newest["predictions"]["click"]["graph"] == scorer.score(other)["click"][0]
    with pytest.raises(ConfigError, match="the ranker's log has int32 as user_id, and '0987654' is none"):
        asked("0987654", pin)


@pytest.mark.parametrize("integers", [False, True])
def test_an_id_that_the_log_lacks_stands_beside_the_rows_of_a_file_without_ids(
    world: SmallWorld, tmp_path: Path, integers: bool
) -> None:
    """A column of nulls alone has no type, and ids that are hashes need all of an unsigned one."""
    table, name = pa.table(world.columns), "user_id"
    if integers:
        numbers = pa.array([int(user[1:]) for user in world.columns[name]], pa.uint64())
        table = table.set_column(table.column_names.index(name), name, numbers)
    first = pa.table(world.columns).slice(0, 200).drop_columns([name, "pin_id"])
    nameless = first.append_column(name, pa.nulls(200)).append_column("pin_id", pa.array(["lonely"] * 200))
    (tmp_path / "log").mkdir()
    pq.write_table(table.slice(200), tmp_path / "log/a.parquet")
    pq.write_table(nameless, tmp_path / "log/b.parquet")
    chosen = settings("none", impressions="log")
    ranker.fit(chosen, tmp_path, None, tmp_path / "model")
    files, export, new = ranker.impression_files(chosen, tmp_path), Export(world.export, START - 1), str((1 << 64) - 1)
    found = ranker.explain_pair(chosen, tmp_path / "model", files, ("user", "pin"), (new, "lonely"), export, None)
    assert found is not None and found["row"].endswith(f"user_id = {new}")

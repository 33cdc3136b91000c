"""Runs on tables of a server: what is up to date, what is said, and that no secret is in any byte of a workspace."""

import json
from pathlib import Path

import pytest

from pipeline.workspace.workspace import Workspace
from tests.partitioning.test_errors import config, relation
from tests.worlds.night_world import newest, transra
from tests.worlds.postgres_server import ENCODED, PASSWORD, PostgresServer

MODEL = {"operator": "transr", "dimension": 4, "epochs": 1, "workers": 1}
PLACE = {"url_env": "LOGS_URL"}
CONSENT = {"source": "answers", "type": "user", "column": "user", "where": "agreed"}


@pytest.fixture
def root(tmp_path: Path, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LOGS_URL", postgres.url)
    postgres.fill("clicks", '"user" bigint, pin text', [(n % 8, f"p{n % 5}") for n in range(40)])
    postgres.fill("answers", '"user" bigint, agreed boolean', [(n, True) for n in range(8)])
    sources = {name: {"postgres": {**PLACE, "table": name}} for name in ("clicks", "answers")}
    graph = config(sources=sources, relations=[relation(source="clicks", domain="offsite", consent=CONSENT)])
    (tmp_path / "c.json").write_text(json.dumps({"graph": graph, "model": MODEL}))
    return tmp_path


def edges(root: Path) -> int:
    count: int = newest(root).record("partition")["metrics"]["edges"]
    return count


def test_a_run_is_made_again_when_a_table_has_changed(
    root: Path, postgres: PostgresServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert transra(root, "partition") == transra(root, "train") == transra(root, "run") == 0
    assert edges(root) == 40
    capsys.readouterr()
    assert transra(root, "run") == transra(root, "run", "--verify") == 0
    assert "partition: up to date" in capsys.readouterr().out
    postgres.run('UPDATE answers SET agreed = false WHERE "user" = 3')
    assert transra(root, "status") == 0
    assert "stale" in capsys.readouterr().out
    assert transra(root, "train") == 2
    assert "tables.answers" in capsys.readouterr().err
    assert transra(root, "run") == 0
    assert edges(root) == 35
    assert "with other lists of consent" in capsys.readouterr().out
    assert len(Workspace(root / "runs/c").runs()) == 2
    assert transra(root, "purge") == 0
    assert len(Workspace(root / "runs/c").runs()) == 1


def test_the_way_to_a_server_is_written_nowhere(
    root: Path, postgres: PostgresServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert transra(root, "run") == 0
    postgres.run("INSERT INTO clicks VALUES (1, 'p1')")
    latest = Workspace(root / "runs/c").latest
    for url in (postgres.url.replace(ENCODED, ENCODED + "x"), f"postgresql//{ENCODED}", f"postgresql://{PASSWORD}@h"):
        monkeypatch.setenv("LOGS_URL", url)
        assert transra(root, "run") in (2, 65)
    monkeypatch.setenv("LOGS_URL", postgres.url)
    postgres.run("ALTER TABLE clicks ADD odd jsonb")
    assert transra(root, "partition", "--set", 'graph.relations[0].where="odd IS NULL"') == 65
    assert Workspace(root / "runs/c").latest == latest
    said = "".join(capsys.readouterr())
    assert "Traceback" not in said
    files = [path for path in root.rglob("*") if path.is_file()]
    contents = [said.encode(), *(path.read_bytes() for path in files)]
    assert len(files) > 10
    for secret in (PASSWORD, ENCODED, f":{postgres.port}", "127.0.0.1"):
        assert not any(secret.encode() in content for content in contents)

"""Logs and tables as people have them, and what `transra init` makes of them."""

import json
import random
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pipeline.cli import main
from pipeline.config.loading import load_config
from pipeline.config.run_config import RunConfig
from pipeline.init import looked_at
from pipeline.proposal.consent import consent_of
from pipeline.proposal.log import Notes
from pipeline.proposal.sources import find_sources

PEOPLE = [f"u{number}" for number in range(9)]
YES_AND_NO = {"boolean": [True, False, True] * 3, "text": ["yes", "no", "yes"] * 3, "numbers": [1, 0, 1] * 3}
QUICK = ("--set", "model.epochs=1", "--set", "model.workers=1", "--quiet")


def proposed(directory: Path, *given: Path | str) -> RunConfig:
    """The config that `init` writes for what is given."""
    out = directory / "mine.json"
    assert main(["init", *map(str, given), "--out", str(out), "--root", str(directory), "--quiet"]) == 0
    return load_config(out)


def runs(directory: Path, *more: str) -> None:
    out, root = str(directory / "mine.json"), ("--root", str(directory))
    assert main(["config", "check", out, *root, "--quiet"]) == 0
    assert main(["run", out, *root, *QUICK, *more]) == 0


def undecided(capsys: pytest.CaptureFixture[str], directory: Path, *given: Path) -> list[str]:
    out = directory / "told.json"
    assert main(["init", *map(str, given), "--out", str(out), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["undecided"]
    assert isinstance(found, list)
    return found


def relations(config: RunConfig) -> dict[str, Any]:
    return {str(one.name): one for one in config.graph.relations}


def events(rows: int, actions: Sequence[str] = ("click", "click", "save", "checkout")) -> pd.DataFrame:
    """A log as one types it by hand: every ad of one advertiser."""
    draw = random.Random(0)
    ads = [draw.randrange(8) for _ in range(rows)]
    return pd.DataFrame(
        {
            "time": [f"2026-01-{1 + row * 20 // rows:02d}T{draw.randrange(24):02d}:00:00" for row in range(rows)],
            "user": [f"u{draw.randrange(9)}" for _ in range(rows)],
            "ad": [f"ad{ad}" for ad in ads],
            "advertiser": [f"adv{ad % 3}" for ad in ads],
            "action": [draw.choice(actions) for _ in range(rows)],
        }
    )


def beside_events(directory: Path, **tables: pd.DataFrame) -> Path:
    """A directory with a log of which `checkout` needs consent, and tables beside it."""
    logs = directory / "logs"
    logs.mkdir()
    events(200).to_csv(logs / "events.csv", index=False)
    for name, table in tables.items():
        table.to_parquet(logs / f"{name}.parquet")
    return logs


def consent_in(directory: Path, source: str, table: pd.DataFrame) -> tuple[dict[str, Any] | None, list[str]]:
    """What `init` makes of one source, and its notes."""
    table.to_parquet(directory / f"{source}.parquet")
    return consent_at(directory / f"{source}.parquet")


def consent_at(*paths: Path) -> tuple[dict[str, Any] | None, list[str]]:
    """The same of files or directories."""
    notes = Notes()
    with ExitStack() as opened:
        logs = looked_at(find_sources(paths, paths[0].parent), opened, lambda *_: None)
        return consent_of(logs, notes).taken, notes.lines

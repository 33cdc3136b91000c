"""What became of the run, and its facts."""

from typing import Any

from pipeline.report import shown
from pipeline.report.facts import Facts
from pipeline.report.parts import Panel, Section, Table


def verdict(facts: Facts) -> tuple[str, str]:
    """A word for what became of the run (published, rejected, earlier, unpublished), and a sentence that says why."""
    rejection, latest = facts.run.rejection(), facts.workspace.latest
    mine = [line for line in facts.publications if line["run"] == facts.run.id]
    if rejection is not None:
        return "rejected", f"By {'the gate' if rejection['by'] == 'gate' else 'hand'}: {rejection['reason']}"
    if latest == facts.run:
        how = {"publish": "", "promote": " by hand", "rollback": " again, by a rollback"}
        last = next((line for line in reversed(mine) if line["action"] in how), None)
        when = f" since {shown.moment(last['time'])}{how[last['action']]}" if last else ""
        return "published", f"This is the run that `latest` leads to{when}. {_gate(facts)}"
    if mine:
        now = latest.id if latest else "none"
        return "earlier", f"Was published on {shown.moment(mine[0]['time'])}; `latest` leads to {now} now."
    return "unpublished", "It has no export yet." if "export" not in facts.records else "Nothing has published it."


def _gate(facts: Facts) -> str:
    gate = facts.config.get("gate")
    if not gate:
        return "The config has no gate, so nothing was judged."
    bounds = ", ".join(f"{key} {value:g}" for key, value in gate.items() if value is not None)
    return f"The gate let it pass ({bounds})."


def overview(facts: Facts) -> Section:
    """The facts of a run and its stages."""
    stages = [_stage(facts, name, record) for name, record in facts.records.items()]
    columns = ("stage", "begun", "seconds", "peak memory, MiB", "made in run")
    return Section(
        "run",
        "Run",
        [
            Panel("Facts", Table(("what", "value"), [(what, _plain(value)) for what, value in _facts(facts)])),
            Panel("Stages", Table(columns, stages)),
        ],
    )


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else shown.number(value)


def _stage(facts: Facts, name: str, record: dict[str, Any]) -> tuple[Any, ...]:
    metrics = record["metrics"]
    memory = metrics.get("peak_rss_bytes")
    mib = None if memory is None else round(memory / (1 << 20))
    where = "this one" if record["run"] == facts.run.id else record["run"]
    return name, shown.moment(record.get("started")), metrics.get("seconds"), mib, where


def _facts(facts: Facts) -> list[tuple[str, Any]]:
    graph, model = facts.metrics("partition") or {}, facts.config.get("model") or {}
    newest = list(facts.records.values())[-1]
    found: list[tuple[str, Any]] = [
        ("run", facts.run.id),
        ("published before it", facts.manifest["parent"]),
        ("training edges", graph.get("edges_by_split", {}).get("train")),
        ("entities", graph.get("entities")),
        ("relations", graph.get("relations")),
        ("time in all stages", shown.duration(sum(r["metrics"].get("seconds", 0) for r in facts.records.values()))),
    ]
    if "train" in facts.records:
        found += [(key, model.get(key)) for key in ("operator", "dimension", "similarity")]
        found.append(("anchors", ", ".join(model.get("anchors") or ()) or "none"))
    for stage, key in (("evaluate", "mrr"), ("evaluate", "hits@10")):
        if (value := (facts.metrics(stage) or {}).get(key)) is not None:
            found.append((f"{key}, held-out edges", value))
    versions = ", ".join(f"{name} {version}" for name, version in newest.get("versions", {}).items())
    return [*found, ("versions", versions)]

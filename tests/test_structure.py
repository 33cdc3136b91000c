"""Arrows point one way, between stages, between the rooms of a stage and between modules; faces are what others see."""

import ast
import re
import subprocess
import sys
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.worlds.pages import PAGES

REPOSITORY = Path(__file__).resolve().parents[1]
# No stage imports another.
ALLOWED = {
    "artifacts": set(),
    "partitioning": {"artifacts"},
    "pbg_transra": {"artifacts"},
    "ranker": {"artifacts"},
    "demo_world": {"artifacts"},
    "pipeline": {"artifacts", "demo_world", "partitioning", "pbg_transra", "ranker"},
}
# The floors of a folder, from the ground up: a room imports rooms below it alone. What lies beside them is the top.
FLOORS = {
    "artifacts": [
        *("errors", "section", "machine", "files", "formats", "sources", "expressions", "kernels", "embeddings"),
    ],
    "partitioning": [
        *("config", "sources", "events", "entities", "edges", "ledger", "buckets", "thinning", "spark"),
        *("inspection", "engines"),
    ],
    "partitioning.sources": [
        *("values", "compressed", "queries", "pseudonyms", "layout", "used", "files"),
        "formats",
    ],
    "pbg_transra": [
        *("config", "seeds", "reports", "degrees", "known"),
        *("pbg", "backends", "ranks", "evaluation", "start", "training", "export", "planning"),
    ],
    "ranker": [
        *("config", "kernels", "data", "processes", "features", "scoring", "model", "evaluation", "training"),
        "experiment",
    ],
    "demo_world": [
        *("assumptions", "parameters", "sampling", "clock", "population", "events", "auctions"),
    ],
    "ranker.data": ["records", "log", "ids", "tabular"],
    "ranker.model": ["dropout", "repeats", "tables", "attention"],
    "pipeline": [
        "config",
        "output",
        "proposal",
        "workspace",
        "stages",
        "running",
        "lookup",
        "report",
        "serving",
        "tuning",
        "simulation",
    ],
    "pipeline.stages": ["earlier", "told"],
}
# What `pipeline` imports the face of, alone.
FACES = ("partitioning", "pbg_transra", "ranker")
# Rooms of partitioning, and modules of others, that speak SQL: DuckDB's side of engines/event_reader.py, and what an
# executor of Spark's does with DuckDB.
DUCKDB = {"sources", "events"}
DUCKDB_MODULES = {
    "partitioning.engines.duckdb_reader",
    "partitioning.expectation",
    "partitioning.inspection.forgetting",
    "partitioning.labels",
    "partitioning.inspection.names",
    "partitioning.inspection.schemas",
    "partitioning.inspection.profile",
    "partitioning.entities.forgotten",
    "partitioning.entities.id_table",
    "partitioning.entities.published_ids",
    "partitioning.edges.query",
    "partitioning.spark.entity_files",
    "partitioning.spark.events",
    "partitioning.spark.files",
    "partitioning.spark.forgetting",
    "partitioning.spark.lookups",
}


def name_of(path: Path) -> str:
    parts = path.relative_to(REPOSITORY).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for stage in ALLOWED for path in sorted((REPOSITORY / stage).rglob("*.py"))}


@cache
def imports(module: str) -> frozenset[str]:
    """What a module imports anywhere: modules of ours by their full name, others as they are written."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module}: relative imports hide which way an arrow points"
            names = {alias.name: f"{node.module}.{alias.name}" for alias in node.names}
            found |= {full if full in MODULES else str(node.module) for full in names.values()}
    return frozenset(found)


def stages_of(modules: frozenset[str]) -> set[str]:
    return {module.split(".")[0] for module in modules}


def floor(folder: str, module: str) -> int:
    """The floor of a module's room in a folder; of what lies beside the rooms, the top."""
    room = module.removeprefix(folder)[1:].split(".")[0]
    return FLOORS[folder].index(room) if room in FLOORS[folder] else len(FLOORS[folder])


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down(module: str) -> None:
    stage = module.split(".")[0]
    assert stages_of(imports(module)) & ALLOWED.keys() - {stage} <= ALLOWED[stage]


@pytest.mark.parametrize("folder", FLOORS)
def test_every_room_has_a_floor_and_says_what_it_holds(folder: str) -> None:
    place = REPOSITORY.joinpath(*folder.split("."))
    rooms = {path.parent.name for path in place.glob("*/__init__.py")}
    assert rooms <= set(FLOORS[folder])
    for room in ("", *rooms):
        assert ast.get_docstring(ast.parse((place / room / "__init__.py").read_text())), room


def test_rooms_of_tests_are_named_as_the_rooms_that_they_test() -> None:
    """Who reads a room finds its tests at the same path below `tests`."""
    tests = REPOSITORY / "tests"
    rooms = {path.parent.relative_to(tests) for path in tests.glob("**/test_*.py")} - {Path()}
    assert [room for room in sorted(rooms) if not (REPOSITORY / room / "__init__.py").is_file()] == []
    assert len(rooms) > 30


def test_a_test_that_a_page_names_is_there() -> None:
    """Tables of results name them by their paths below `tests`."""
    rooms = "|".join(path.name for path in (REPOSITORY / "tests").iterdir() if path.is_dir())
    named = {
        (page.name, path)
        for page in PAGES
        for path in re.findall(rf"(?<![\w/])(?:tests/)?((?:{rooms})/(?:\w+/)*test_\w+)", page.read_text())
    }
    assert [one for one in sorted(named) if not (REPOSITORY / f"tests/{one[1]}.py").is_file()] == []
    assert len(named) > 60


@pytest.mark.parametrize("folder", FLOORS)
def test_rooms_import_rooms_below(folder: str) -> None:
    mine = {module: imports(module) for module in MODULES if module.startswith(f"{folder}.")}
    up = [
        f"{module} -> {other}"
        for module, others in mine.items()
        for other in others
        if other.startswith(f"{folder}.") and floor(folder, other) > floor(folder, module)
    ]
    assert up == []


@pytest.mark.parametrize("stage", ALLOWED)
def test_no_module_imports_itself_by_way_of_others(stage: str) -> None:
    graph = {module: imports(module) & MODULES.keys() for module in MODULES if module.split(".")[0] == stage}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_pipeline_imports_faces() -> None:
    behind = {
        f"{module} -> {other}"
        for module in MODULES
        if module.startswith("pipeline")
        for other in imports(module)
        if "." in other and other.split(".")[0] in FACES
    }
    assert behind == set()


def test_only_the_border_knows_torchbiggraph() -> None:
    knowing = {module for module in MODULES if "torchbiggraph" in stages_of(imports(module))}
    assert not [module for module in knowing if not module.startswith("pbg_transra.pbg.")]


def test_partitioning_knows_no_torch() -> None:
    assert not [m for m in MODULES if m.startswith("partitioning") and "torch" in stages_of(imports(m))]


def test_sql_stays_on_the_side_of_the_engine() -> None:
    """Who is given a connection is on DuckDB's side; the rest works on what an EventReader gives."""
    speaking = {
        module
        for module, path in MODULES.items()
        if module.startswith("partitioning.")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module == "artifacts.expressions.engine"
        for alias in node.names
        if alias.name != "translated"
    }
    assert {module for module in speaking if module.split(".")[1] not in DUCKDB} == DUCKDB_MODULES


def test_the_face_of_training_is_light() -> None:
    """`transra status` imports it, and takes under half a second."""
    heavy = "print(*sorted({'torch', 'torchbiggraph', 'h5py', 'numpy', 'pyarrow'} & set(sys.modules)))"
    command = [sys.executable, "-c", f"import sys, pbg_transra; {heavy}"]
    assert subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout == "\n"


SCRIPTS = [path for path in sorted((REPOSITORY / "benchmarks").rglob("*.py")) if "out" not in path.parts]


@pytest.mark.parametrize("path", SCRIPTS, ids=str)
def test_a_script_is_not_named_after_a_package_that_it_imports(path: Path) -> None:
    """Python puts a script's own folder first, so it and its neighbours would be found in place of the package."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    packages = {name.split(".")[0] for name in plain | {str(n.module) for n in nodes if isinstance(n, ast.ImportFrom)}}
    assert not packages & {beside.stem for beside in path.parent.glob("*.py")}

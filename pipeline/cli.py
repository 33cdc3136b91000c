"""The command line.

    transra demo-data data/demo
    transra partition configs/demo.json && transra train configs/demo.json && transra export configs/demo.json
    transra run configs/demo.json          every stale stage, in order: what cron calls
    transra features configs/demo_rank.json features.parquet    the ranker's log for other models
    transra tune configs/demo.json         choose settings of the model by the valid split
    transra simulate configs/demo_rank.json    the demo world's people meet an auction that each arm ranks

Exit codes: 0 done or up to date, 2 usage or config, 65 bad data, 70 internal, 73 cannot write or does not fit,
75 locked, 130 interrupted.
"""

import argparse
import atexit
import errno
import json
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NoReturn

from artifacts.errors import ConfigError, ResourceError, TransraError
from artifacts.exhausted import exhausted
from artifacts.printable import one_line
from pipeline.output.console import Console, open_streams, write

REPOSITORY = Path(__file__).resolve().parents[1]
UNWRITABLE = {
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.EIO,
    errno.EISDIR,
    errno.ENOTDIR,
    errno.EEXIST,
    errno.ENOTEMPTY,
    errno.ELOOP,
    errno.ENAMETOOLONG,
}
STAGE_HELP = {
    "partition": "events on disk become a partitioned graph",
    "train": "learn one vector per entity; an interrupted training goes on",
    "evaluate": "rank held-out edges among all entities of the right type",
    "export": "write the vectors as HDF5 and publish the run",
    "rank": "train and judge the ranker's arms on the published vectors",
    "fit": "train the chosen arm on all days and publish it for `score`",
}


def parser() -> argparse.ArgumentParser:
    root = argparse.ArgumentParser(
        prog="transra", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = root.add_subparsers(dest="command", required=True, metavar="COMMAND")
    common = common_options()
    for name, text in STAGE_HELP.items():
        stage = commands.add_parser(name, help=text, parents=[common])
        stage.set_defaults(action=run_stages, stages=[name])
        stage.add_argument("--restart", action="store_true", help="throw an interrupted attempt away first")
        if name == "partition":
            stage.add_argument("--rebuild", action="store_true", help="begin a fresh entity map: known ids may move")
        if name == "rank":
            stage.add_argument("--arms", type=names, metavar="all|a,b,c", help="which arms (ranker.compare)")
    everything = commands.add_parser("run", help="every stale stage, in order (what cron calls)", parents=[common])
    everything.set_defaults(action=run_stages, stages=[], restart=False)
    everything.add_argument("--until", choices=STAGE_HELP, help="the last stage (the last that the config has)")
    add_tune(commands, common)
    add_features(commands, common)
    removing = commands.add_parser("purge", help="remove every run but the published one", parents=[common])
    removing.set_defaults(action=purge_runs)
    promoting = commands.add_parser("promote", help="publish a kept run, whatever the gate says", parents=[common])
    promoting.add_argument("run", metavar="RUN", type=utf8, help="its name in the workspace")
    promoting.set_defaults(action=promote_run)
    back = commands.add_parser("rollback", help="publish the run before the published one again", parents=[common])
    back.set_defaults(action=roll_back)
    commands.add_parser("status", help="what the workspace holds", parents=[common]).set_defaults(action=show_status)
    add_score(commands, common)
    add_neighbors(commands, common)
    add_simulate(commands, common)
    add_config(commands, common)
    add_demo_data(commands)
    return root


def default_root() -> Path:
    """The checkout that this code runs from; the current directory where it was installed from a wheel."""
    return REPOSITORY if (REPOSITORY / "pyproject.toml").is_file() else Path()


def common_options() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("config", type=Path, metavar="CONFIG", help="a run config, e.g. configs/demo.json")
    common.add_argument("--set", action="append", default=[], metavar="KEY.PATH=VALUE", help="override one value")
    common.add_argument(
        "--root",
        type=Path,
        default=default_root(),
        help="where relative paths of the config start (default: the checkout that this code runs from, "
        "or where there is none the current directory)",
    )
    common.add_argument("--workspace", type=Path, help="default: <root>/runs/<config name>")
    common.add_argument("--verify", action="store_true", help="compare full digests of inputs and outputs")
    common.add_argument("--dry-run", action="store_true", help="what is stale and why, expected disk and memory")
    add_output_options(common)
    return common


def add_output_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", action="store_true", help="one JSON object on stdout, nothing else")
    command.add_argument("--quiet", action="store_true", help="print failures only")
    command.add_argument("--debug", action="store_true", help="show tracebacks")


def add_score(commands: Any, common: argparse.ArgumentParser) -> None:
    command = commands.add_parser(
        "score", help="predictions of the published model for Parquet files", parents=[common]
    )
    command.add_argument("source", metavar="IN", help="a Parquet file, a directory or a glob")
    command.add_argument("out", type=Path, metavar="OUT.parquet", help="what to write")
    command.set_defaults(action=score_rows)


def add_neighbors(commands: Any, common: argparse.ArgumentParser) -> None:
    command = commands.add_parser("neighbors", help="nearest entities in the anchor space, exactly", parents=[common])
    command.add_argument("type", metavar="TYPE", type=utf8, help="entity type")
    command.add_argument("id", metavar="ID", type=utf8)
    command.add_argument("--k", type=positive, default=10, help="how many (default 10)")
    command.add_argument("--to", metavar="TYPE", type=utf8, help="entity type of the neighbours (default: TYPE)")
    command.set_defaults(action=show_neighbors)


def add_tune(commands: Any, common: argparse.ArgumentParser) -> None:
    command = commands.add_parser("tune", help="choose settings of the model by the valid split", parents=[common])
    command.add_argument("--minutes", type=minutes, default=30.0, help="of training in all, earlier calls counted (30)")
    command.add_argument("--trials", type=positive, metavar="N", help="at most so many, earlier calls counted")
    command.add_argument("--out", type=Path, metavar="FILE", help="what to write (default: CONFIG with .tuned.json)")
    command.add_argument("--all", action="store_true", help="also change keys of model that the config writes")
    command.set_defaults(action=tune_model)


def add_simulate(commands: Any, common: argparse.ArgumentParser) -> None:
    command = commands.add_parser("simulate", help="the trained arms in the demo world's auction", parents=[common])
    command.add_argument("--requests", type=positive, default=20_000, metavar="N", help="auctions (20000)")
    command.add_argument("--seed", type=whole, default=0, metavar="N", help="of all draws: same seed, same bytes (0)")
    command.add_argument("--reserve", type=price, default=0.5, metavar="BID", help="least bid per click (0.5)")
    command.add_argument(
        "--scores", type=named_file, action="append", default=[], metavar="NAME=FILE",
        help="Parquet with predicted click rates of another model, beside the arms: request, candidate, score",
    )  # fmt: skip
    command.add_argument("--candidates", type=Path, metavar="FILE", help="write what such a model is to score, and end")
    command.set_defaults(action=simulate_auctions)


def named_file(text: str) -> tuple[str, Path]:
    """A name and a file."""
    name, found, path = text.partition("=")
    if not (name and found and path and is_plain(Path(text))):
        raise argparse.ArgumentTypeError(f"{text!a}: expected NAME=FILE")
    return name, Path(path)


def whole(text: str) -> int:
    """A seed; argparse says what was wrong with another."""
    if not text.isdecimal() or int(text) >= 1 << 63:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number from 0 to 2^63 - 1")
    return int(text)


def price(text: str) -> float:
    """A price in units of the median bid."""
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 0 < found <= 1e6:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a price above 0, at most a million")
    return found


def add_features(commands: Any, common: argparse.ArgumentParser) -> None:
    command = commands.add_parser("features", help="the ranker's log with features for other models", parents=[common])
    command.add_argument("out", type=Path, metavar="OUT", help="the Parquet file to write")
    command.set_defaults(action=write_features)


def utf8(text: str) -> str:
    """A name that a graph can have; bytes of another encoding reach us as lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError(f"{text!a}: expected UTF-8 text") from None
    return text


def names(text: str) -> list[str]:
    return text.split(",")


def positive(text: str) -> int:
    """A number of things; argparse says what was wrong with another."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if not 0 < number < 1 << 31:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number from 1 to {(1 << 31) - 1}")
    return number


def minutes(text: str) -> float:
    """A time to spend, up to some years."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number <= 1e7:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number of minutes above 0, at most 10 million")
    return number


def add_config(commands: Any, common: argparse.ArgumentParser) -> None:
    command = commands.add_parser("config", help="check or show a config, or print the schema for editors")
    kinds = command.add_subparsers(dest="kind", required=True, metavar="check|show|pbg|schema")
    for kind, text in (("check", "say what is wrong with it"), ("show", "print it resolved, with all defaults")):
        kinds.add_parser(kind, help=text, parents=[common]).set_defaults(action=show_config)
    pbg = kinds.add_parser("pbg", help="print it as a module for PyTorch-BigGraph's own programs", parents=[common])
    pbg.add_argument("-o", "--output", type=Path, metavar="FILE", help="write it there instead")
    pbg.set_defaults(action=show_pbg_config)
    schema = kinds.add_parser("schema", help="print the JSON Schema of run configs")
    add_output_options(schema)
    schema.set_defaults(action=show_schema)


def add_demo_data(commands: Any) -> None:
    command = commands.add_parser("demo-data", help="make a synthetic ads world with a known oracle")
    command.add_argument("directory", type=Path, metavar="DIR")
    for name, text in (
        ("users", "people in the world"),
        ("impressions", "rows of `impressions`, the ranker's ten days"),
        ("days", "days of the graph's window"),
        ("seed", "same seed, same bytes"),
    ):
        command.add_argument(f"--{name}", type=int, help=text)
    add_output_options(command)
    command.set_defaults(action=make_demo_data)


def context_of(options: argparse.Namespace) -> Any:
    from pipeline.config.loading import load_config
    from pipeline.workspace.context import Context
    from pipeline.workspace.workspace import Workspace

    for path in (options.config, options.root, options.workspace):
        if path is not None and not is_plain(path):
            raise ConfigError(f"{path}: expected a path in UTF-8 without NUL")
    config = load_config(options.config, options.set).with_arms(getattr(options, "arms", None))
    root = options.root.resolve()
    workspace = (options.workspace or root / "runs" / options.config.stem).resolve()
    console = Console(quiet=options.quiet, as_json=options.json)
    restart = getattr(options, "restart", False)
    rebuild = datetime.now(timezone.utc).isoformat() if getattr(options, "rebuild", False) else None
    given = tuple(given_options(options))
    return Context(options.config, config, root, Workspace(workspace), console, options.verify, restart, rebuild, given)


def given_options(options: argparse.Namespace) -> Iterator[str]:
    """The options that choose what a command works on, as they were written."""
    if options.root != default_root():
        yield from ("--root", str(options.root))
    if options.workspace:
        yield from ("--workspace", str(options.workspace))
    for override in options.set:
        yield from ("--set", override)


def is_plain(path: Path) -> bool:
    """Whether a path is text: the file system and the libraries below would take others apart."""
    return "\0" not in str(path) and not any("\ud800" <= one <= "\udfff" for one in str(path))


def everything(context: Any, until: str | None) -> list[str]:
    """The stages that the config has, in order, as far as `until`. Raises ConfigError where it does not have that."""
    from pipeline.stages import STAGES

    found = [name for name, stage in STAGES.items() if stage.applies(context)]
    if until is not None and until not in found:
        raise ConfigError(f"--until {until}: the config has no section for it, expected one of {', '.join(found)}")
    return found[: found.index(until) + 1] if until else found


def run_stages(options: argparse.Namespace) -> dict[str, Any]:
    from pipeline.runner import bring_up_to_date
    from pipeline.stages import RESUMABLE, STAGES
    from pipeline.status import dry_run
    from pipeline.workspace.leftovers import remove_leftovers
    from pipeline.workspace.lock import locked
    from pipeline.workspace.owner import claim, require_own

    context = context_of(options)
    asked = options.stages or everything(context, options.until)
    if asked == ["partition"] and context.config.checks:
        asked = ["partition", "checks"]  # whoever makes a graph by hand wants to know what it is like
    require_own(context)
    for name in asked:
        STAGES[name].check(context)  # before hours of work
    if options.dry_run:
        return {"stages": [dry_run(context, name) for name in asked]}
    context.workspace.create()
    with locked(context.workspace.path), context.stores:
        claim(context)
        remove_leftovers(context.workspace, RESUMABLE)
        outcomes = [bring_up_to_date(context, name) for name in asked]
    made = {outcome.stage: {"made": outcome.made, "metrics": outcome.metrics} for outcome in outcomes}
    return {"run": outcomes[-1].run.id, "stages": made}


def tune_model(options: argparse.Namespace) -> dict[str, Any]:
    from pipeline.tune import tune
    from pipeline.tuning_search import Budget

    context = context_of(options)
    out = options.out or options.config.with_name(f"{options.config.stem}.tuned.json")
    if not is_plain(out):
        raise ConfigError(f"--out {out}: expected a path in UTF-8 without NUL")
    return tune(context, out, Budget(options.minutes, options.trials), options.all, options.dry_run)


def simulate_auctions(options: argparse.Namespace) -> dict[str, Any]:
    from pipeline.simulate import Files, simulate
    from pipeline.simulated_requests import Asked

    if options.candidates is not None and not is_plain(options.candidates):
        raise ConfigError(f"--candidates {options.candidates}: expected a path in UTF-8 without NUL")
    context, asked = context_of(options), Asked(options.requests, options.seed, options.reserve)
    return simulate(context, asked, Files(options.candidates, dict(options.scores)), options.dry_run)


def write_features(options: argparse.Namespace) -> dict[str, Any]:
    from pipeline.features import features

    context = context_of(options)
    if not is_plain(options.out):
        raise ConfigError(f"{options.out!a}: expected a path in UTF-8 without NUL")
    return features(context, options.out, options.dry_run)


def purge_runs(options: argparse.Namespace) -> dict[str, Any]:
    from pipeline.purge import kept_run, purge
    from pipeline.workspace.lock import locked
    from pipeline.workspace.owner import require_own

    context = context_of(options)
    require_own(context)
    if options.dry_run:
        return purge(context, dry_run=True)
    kept_run(context)  # there may be no workspace to lock
    with locked(context.workspace.path):
        return purge(context, dry_run=False)


def promote_run(options: argparse.Namespace) -> dict[str, Any]:
    from pipeline.publication import promote

    return move_latest(options, lambda context: promote(context, options.run))


def roll_back(options: argparse.Namespace) -> dict[str, Any]:
    from pipeline.publication import rollback

    return move_latest(options, rollback)


def move_latest(options: argparse.Namespace, move: Callable[[Any], Any]) -> dict[str, Any]:
    """Moves `latest` to the run that `move` returns, under the lock."""
    from pipeline.workspace.lock import locked
    from pipeline.workspace.owner import require_own

    context = context_of(options)
    require_own(context)
    before = context.workspace.latest
    if options.dry_run:
        raise ConfigError(f"{options.command}: has no --dry-run; `{context.command('status')}` shows the runs")
    if not context.workspace.path.is_dir():
        raise ConfigError(f"{context.workspace.path}: nothing is published yet; run `{context.command('run')}`")
    with locked(context.workspace.path):
        run = move(context)
    context.console.say(f"{options.command}: latest is {run.id}, it was {before.id if before else 'none'}")
    return {"latest": run.id, "latest_before": before.id if before else None}


def show_status(options: argparse.Namespace) -> dict[str, Any]:
    from pipeline.status import status
    from pipeline.workspace.owner import require_own

    context = context_of(options)
    require_own(context)
    return status(context)


def score_rows(options: argparse.Namespace) -> dict[str, Any]:
    from pipeline.score import score
    from pipeline.workspace.owner import require_own

    context = context_of(options)
    for path in (Path(options.source), options.out):
        if not is_plain(path):
            raise ConfigError(f"{path}: expected a path in UTF-8 without NUL")
    require_own(context)
    return score(context, options.source, options.out)


def show_neighbors(options: argparse.Namespace) -> dict[str, Any]:
    from artifacts.neighbors import neighbors
    from artifacts.pseudonyms import pseudonym
    from partitioning import id_key
    from pipeline.status import published_vectors
    from pipeline.workspace.owner import require_own

    context = context_of(options)
    require_own(context)
    to_type = options.to or options.type
    embeddings = published_vectors(context)
    key = id_key(context.config.graph)
    id = pseudonym(options.id, key) if key else options.id
    found = neighbors(embeddings, options.type, id, options.k, to_type)
    for neighbor in found:
        context.console.say(f"{neighbor.similarity:10.4f}  {one_line(neighbor.id)}")
    return {"neighbors": [neighbor._asdict() for neighbor in found]}


def show_config(options: argparse.Namespace) -> dict[str, Any]:
    from pipeline.stages import STAGES
    from pipeline.stages.names import check_names

    context = context_of(options)
    if options.kind == "show":
        context.console.say(json.dumps(context.resolved, indent=2))
        return {"config": context.resolved}
    notes = [*check_names(context), *(note for stage in STAGES.values() for note in stage.check(context))]
    unchecked = list(dict.fromkeys(notes))  # rank and fit read the same log
    context.console.say(f"{options.config}: good" + "".join(f", but not checked: {note}" for note in unchecked))
    return {"config": context.resolved, "unchecked": unchecked}


def show_pbg_config(options: argparse.Namespace) -> dict[str, Any]:
    from artifacts.publish import write_text
    from pbg_transra import ModelConfig, config_module, names_note
    from pipeline.status import trained_run
    from pipeline.workspace.owner import require_own

    context = context_of(options)
    require_own(context)
    run, record = trained_run(context)
    graph_dir, model = run.directory("partition"), ModelConfig.model_validate(record["parts"]["config"])
    text = config_module(graph_dir, run.directory("train"), model, context.config.evaluate.split)
    notes = [note] if (note := names_note(graph_dir)) else []
    if options.output:
        write_text(options.output, text)
        context.console.say(f"config pbg: run {run.id} -> {options.output}")
    else:
        context.console.say(text)
    for note in notes:
        write(f"transra: {one_line(note)}", sys.stderr)
    return {"run": run.id, "module": text, "notes": notes}


def show_schema(options: argparse.Namespace) -> dict[str, Any]:
    from pipeline.config.schema import config_schema

    Console(options.quiet, options.json).say(json.dumps(config_schema(), indent=2))
    return {"schema": config_schema()}


def make_demo_data(options: argparse.Namespace) -> dict[str, Any]:
    from demo_world import WorldParameters, generate

    asked = {key: getattr(options, key) for key in ("users", "impressions", "days", "seed")}
    given = {key: value for key, value in asked.items() if value is not None}
    console = Console(options.quiet, options.json)
    with console.bar("demo-data", " events") as bar:
        report = generate(options.directory, WorldParameters(**given), bar.update)
    events = sum(report["engagements"].values()) + sum(report["conversions"].values())
    # None where too few people clicked, or converted, for there to be a curve
    ctr, cvr = ("none" if auc is None else f"{auc:.3f}" for auc in map(report["oracle"].get, ("ctr_auc", "cvr_auc")))
    console.say(
        f"demo-data: {events:,} events and {report['ranker']['impressions']:,} impressions to rank, "
        f"CTR {report['ctr']:.2%}, oracle AUC {ctr} (CTR) {cvr} (CVR) "
        f"-> {options.directory}"
    )
    return {"directory": str(options.directory), "report": report}


def main(arguments: Sequence[str] | None = None) -> int:
    open_streams()
    options = parser().parse_args(arguments)
    with interruptible():
        return run(options)


def run(options: argparse.Namespace) -> int:
    """Runs the command; whatever ends it becomes an exit code and lines."""
    action: Callable[[argparse.Namespace], dict[str, Any]] = options.action
    try:
        result = action(options)
        Console(as_json=options.json).result({"command": options.command, "exit_code": 0, **result})
    except KeyboardInterrupt:
        return fail(options, 130, ["interrupted; the same command goes on"])
    except TransraError as error:
        return fail(options, error.exit_code, error.lines)
    except Exception as error:
        if ours := exhausted(error):
            return fail(options, ours.exit_code, ours.lines)
        if isinstance(error, OSError) and error.errno in UNWRITABLE:
            return fail(options, ResourceError.exit_code, [f"{error.filename or 'output'}: {error.strerror}"])
        hint = "" if options.debug else " (--debug shows where; log.jsonl of the run has it too)"
        return fail(options, 70, [f"internal error: {type(error).__name__}: {error}{hint}"])
    return 0


@contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM interrupts as SIGINT does."""
    before = signal.getsignal(signal.SIGTERM)
    signals = [signal.SIGTERM]
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # a shell ignores it for what it runs behind
        signals.append(signal.SIGINT)
    for one in signals:
        signal.signal(one, interrupt)
    yield
    if signal.getsignal(signal.SIGTERM) is interrupt:  # nothing came; what comes now ends the process without a word
        signal.signal(signal.SIGTERM, before)
        if signal.SIGINT in signals:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)  # all is done: no traceback of an exit


def interrupt(number: int, frame: Any) -> NoReturn:
    """The first signal interrupts; those that come while what was begun is put away change nothing."""
    for one in (signal.SIGTERM, signal.SIGINT):
        signal.signal(one, lambda number, frame: None)
    raise KeyboardInterrupt


def fail(options: argparse.Namespace, exit_code: int, lines: Sequence[str]) -> int:
    """Says what went wrong, one line per problem, on stderr, or as the one JSON object."""
    if options.debug:
        traceback.print_exc()
    for line in lines:
        write(f"transra: {one_line(line)}", sys.stderr)
    Console(as_json=options.json).result({"command": options.command, "exit_code": exit_code, "errors": list(lines)})
    return exit_code


if __name__ == "__main__":
    sys.exit(main())

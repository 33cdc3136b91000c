"""The command line.

    transra init logs                      a first config for your logs
    transra demo-data data/demo
    transra partition configs/demo.json && transra train configs/demo.json && transra export configs/demo.json
    transra run configs/demo.json          every stale stage, in order: what cron calls
    transra features configs/demo_rank.json features.parquet    the ranker's log for other models
    transra tune configs/demo.json         choose settings of the model by the valid split
    transra report configs/demo.json       the published run as one page of HTML
    transra simulate configs/demo_rank.json    the demo world's people meet an auction that each arm ranks

Exit codes: 0 done or up to date, 2 usage or config, 65 bad data, 70 internal, 73 cannot write or does not fit,
75 locked, 130 interrupted.
"""

import argparse
import os
from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import Any

from artifacts.printable import is_text
from pipeline import commands
from pipeline.command_context import default_root
from pipeline.examples import epilog

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
    root.add_argument("--version", action=Version)
    subparsers = root.add_subparsers(dest="command", required=True, metavar="COMMAND")
    common = common_options()
    for name, text in STAGE_HELP.items():
        stage = subparsers.add_parser(name, help=text, parents=[common])
        stage.set_defaults(action=commands.run_stages, stages=[name])
        stage.add_argument("--restart", action="store_true", help="throw an interrupted attempt away first")
        if name == "partition":
            stage.add_argument("--rebuild", action="store_true", help="begin a fresh entity map: known ids may move")
        if name == "train":
            stage.add_argument("--rank", type=whole, metavar="R", help="which of model.machines this one is, from 0")
        if name == "rank":
            stage.add_argument("--arms", type=names, metavar="all|a,b,c", help="which arms (ranker.compare)")
    everything = subparsers.add_parser("run", help="every stale stage, in order (what cron calls)", parents=[common])
    everything.set_defaults(action=commands.run_stages, stages=[], restart=False)
    everything.add_argument("--until", choices=STAGE_HELP, help="the last stage (the last that the config has)")
    add_plan(subparsers, common)
    add_tune(subparsers, common)
    add_features(subparsers, common)
    removing = subparsers.add_parser("purge", help="remove every run but the published one", parents=[common])
    removing.set_defaults(action=commands.purge_runs)
    cleaning = subparsers.add_parser("clean", help="list what can go, and with --yes remove it", parents=[common])
    cleaning.add_argument(
        "--only", metavar="NAME", type=utf8, action="append", default=[],
        help="only this, as it is listed; several times for more",
    )  # fmt: skip
    cleaning.add_argument("--yes", action="store_true", help="remove it")
    cleaning.set_defaults(action=commands.clean_workspace)
    promoting = subparsers.add_parser("promote", help="publish a kept run, whatever the gate says", parents=[common])
    promoting.add_argument("run", metavar="RUN", type=utf8, help="its name in the workspace")
    promoting.set_defaults(action=commands.promote_run)
    back = subparsers.add_parser("rollback", help="publish the run before the published one again", parents=[common])
    back.set_defaults(action=commands.roll_back)
    subparsers.add_parser("status", help="what the workspace holds", parents=[common]).set_defaults(
        action=commands.show_status
    )
    report = subparsers.add_parser("report", help="a run as one page of HTML to look at", parents=[common])
    report.add_argument("--run", metavar="RUN", type=utf8, help="its name in the workspace (default: the published)")
    report.set_defaults(action=commands.show_report)
    add_score(subparsers, common)
    add_infer(subparsers, common)
    add_neighbors(subparsers, common)
    add_explain(subparsers, common)
    add_serve(subparsers, common)
    add_simulate(subparsers, common)
    card = subparsers.add_parser("card", help="a model card of the published run, in Markdown", parents=[common])
    card.add_argument("-o", "--output", type=Path, metavar="FILE", help="write it there instead")
    card.set_defaults(action=commands.show_card)
    mlflow = subparsers.add_parser("mlflow", help="add the published run to MLflow", parents=[common])
    mlflow.add_argument("uri", metavar="URI", type=utf8, help="MLflow's tracking URI, such as file:mlruns")
    mlflow.set_defaults(action=commands.log_mlflow)
    add_config(subparsers, common)
    add_init(subparsers)
    add_demo_data(subparsers)
    for name, command in subparsers.choices.items():
        command.epilog, command.formatter_class = epilog(name), argparse.RawDescriptionHelpFormatter
    return root


class Version(argparse.Action):
    """Says which version is installed; who does not ask does not wait for the package's metadata."""

    def __init__(self, option_strings: Sequence[str], dest: str) -> None:
        super().__init__(option_strings, dest, nargs=0, default=argparse.SUPPRESS, help="the version that is installed")

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from importlib.metadata import version

        print(f"transra {version('transra')}")
        parser.exit()


def completed(root: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """The parser, unless a shell asks what may follow on its line: then that is answered, and the process ends."""
    if "_ARGCOMPLETE" in os.environ:
        import argcomplete

        argcomplete.autocomplete(root, always_complete_options=False)
    return root


def require_command_first(root: argparse.ArgumentParser, arguments: Sequence[str]) -> None:
    """Ends with a usage error where an option stands before the command: argparse takes its value for the command."""
    first = arguments[0]
    if first.startswith("-") and first != "-h" and not any(one.startswith(first) for one in ("--help", "--version")):
        root.error(f"{first!a} stands before the command; options go after it: transra run CONFIG --root DIR")


def common_options() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("config", type=Path, metavar="CONFIG", help="a run config, e.g. configs/demo.json")
    common.add_argument("--set", action="append", default=[], metavar="KEY.PATH=VALUE", help="override one value")
    add_root(common)
    common.add_argument("--workspace", type=Path, help="default: <root>/runs/<config name>")
    common.add_argument("--verify", action="store_true", help="compare full digests of inputs and outputs")
    common.add_argument("--dry-run", action="store_true", help="what is stale and why, expected disk and memory")
    add_output_options(common)
    return common


def add_root(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--root",
        type=Path,
        default=default_root(),
        help="where relative paths of the config start (default: the checkout that this code runs from, "
        "or where there is none the current directory)",
    )


def add_output_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", action="store_true", help="one JSON object on stdout, nothing else")
    command.add_argument("--quiet", action="store_true", help="print failures only")
    command.add_argument("--debug", action="store_true", help="show tracebacks")


def add_score(subparsers: Any, common: argparse.ArgumentParser) -> None:
    command = subparsers.add_parser(
        "score", help="predictions of the published model for Parquet files", parents=[common]
    )
    command.add_argument("source", metavar="IN", help="a Parquet file, a directory or a glob")
    command.add_argument("out", type=Path, metavar="OUT.parquet", help="what to write")
    command.set_defaults(action=commands.score_rows)


def add_infer(subparsers: Any, common: argparse.ArgumentParser) -> None:
    command = subparsers.add_parser(
        "infer", help="vectors for entities that came after training, from their events", parents=[common]
    )
    command.add_argument("events", metavar="EVENTS", type=Path, help="a Parquet file, or a directory of them")
    command.add_argument("out", type=Path, metavar="OUT.parquet", help="what to write")
    command.add_argument("--source", metavar="NAME", type=utf8, help="source of the config whose rows they are")
    command.set_defaults(action=commands.infer_vectors)


def add_neighbors(subparsers: Any, common: argparse.ArgumentParser) -> None:
    command = subparsers.add_parser("neighbors", help="nearest entities in the anchor space", parents=[common])
    command.add_argument("type", metavar="TYPE", type=utf8, help="entity type of what asks")
    command.add_argument("id", metavar="ID", type=utf8, nargs="*", help="which entities ask")
    command.add_argument("--vector", metavar="X,Y,...", type=numbers, help="a vector asks in place of entities")
    command.add_argument("--k", type=positive, default=10, help="how many (default 10)")
    command.add_argument(
        "--to", metavar="TYPE", type=utf8, action="append",
        help="entity type of the neighbours; several times for more (default: TYPE)",
    )  # fmt: skip
    command.add_argument("--exact", action="store_true", help="compare all, without the export's index")
    command.set_defaults(action=commands.show_neighbors)


def add_explain(subparsers: Any, common: argparse.ArgumentParser) -> None:
    command = subparsers.add_parser("explain", help="why an ad is near a user, or not", parents=[common])
    command.add_argument("user", metavar="USER", type=utf8, help="id of a head")
    command.add_argument("ad", metavar="AD", type=utf8, help="id of a tail")
    command.add_argument(
        "--relation", metavar="NAME", type=utf8, help="whose types they are of (default: the first anchor)"
    )
    command.add_argument("--k", type=positive, default=10, help="how many supporting edges (default 10)")
    command.set_defaults(action=commands.explain_pair)


def add_serve(subparsers: Any, common: argparse.ArgumentParser) -> None:
    command = subparsers.add_parser("serve", help="a page and a JSON API over the published run", parents=[common])
    command.add_argument("--host", metavar="ADDRESS", type=utf8, default="127.0.0.1", help="where (127.0.0.1)")
    command.add_argument("--port", type=port, default=8350, help="which port; 0: any free one (8350)")
    command.set_defaults(action=commands.serve_published)


def port(text: str) -> int:
    """A port; argparse says what was wrong with another."""
    if not (text.isascii() and text.isdecimal() and int(text[:9]) < 1 << 16):
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number from 0 to 65535")
    return int(text)


def numbers(text: str) -> list[float]:
    """The components of a vector."""
    try:
        found = [float(one) for one in text.split(",")]
    except ValueError:
        found = []
    if not found or not all(map(isfinite, found)):
        raise argparse.ArgumentTypeError(f"{text!r}: expected numbers with commas between them")
    return found


def add_plan(subparsers: Any, common: argparse.ArgumentParser) -> None:
    command = subparsers.add_parser(
        "plan", help="what a graph of any size would take on machines like this one", parents=[common]
    )
    command.add_argument("--edges", type=count, required=True, metavar="N", help="training edges, such as 1e10")
    command.add_argument("--entities", type=count, required=True, metavar="N", help="of all types, such as 1e9")
    command.add_argument(
        "--machines", type=machines, default=1, metavar="N", help="that train together (1), 1024 at most"
    )
    command.set_defaults(action=commands.plan_graph_size)


def count(text: str) -> int:
    """A number of things, also as 1e10."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 1 <= number <= 1e15 or number != int(number):
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number from 1 to 1e15, such as 1e10")
    return int(number)


def machines(text: str) -> int:
    """As many as there may be partitions for."""
    if not text.isdecimal() or not 1 <= int(text[:9]) <= 1024:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number from 1 to 1024")
    return int(text)


def add_tune(subparsers: Any, common: argparse.ArgumentParser) -> None:
    command = subparsers.add_parser("tune", help="choose settings of the model by the valid split", parents=[common])
    command.add_argument("--minutes", type=minutes, default=30.0, help="of training in all, earlier calls counted (30)")
    command.add_argument("--trials", type=positive, metavar="N", help="at most so many, earlier calls counted")
    command.add_argument("--out", type=Path, metavar="FILE", help="what to write (default: CONFIG with .tuned.json)")
    command.add_argument("--all", action="store_true", help="also change keys of model that the config writes")
    command.set_defaults(action=commands.tune_model)


def add_simulate(subparsers: Any, common: argparse.ArgumentParser) -> None:
    command = subparsers.add_parser("simulate", help="the trained arms in the demo world's auction", parents=[common])
    command.add_argument("--requests", type=positive, default=20_000, metavar="N", help="auctions (20000)")
    command.add_argument("--seed", type=whole, default=0, metavar="N", help="of all draws: same seed, same bytes (0)")
    command.add_argument("--reserve", type=price, default=0.5, metavar="BID", help="least bid per click (0.5)")
    command.add_argument(
        "--scores", type=named_file, action="append", default=[], metavar="NAME=FILE",
        help="Parquet with predicted click rates of another model, beside the arms: request, candidate, score",
    )  # fmt: skip
    command.add_argument("--candidates", type=Path, metavar="FILE", help="write what such a model is to score, and end")
    command.set_defaults(action=commands.simulate_auctions)


def named_file(text: str) -> tuple[str, Path]:
    """A name and a file."""
    name, found, path = text.partition("=")
    if not (name and found and path and is_text(text)):
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


def add_features(subparsers: Any, common: argparse.ArgumentParser) -> None:
    command = subparsers.add_parser(
        "features", help="the ranker's log with features for other models", parents=[common]
    )
    command.add_argument("out", type=Path, metavar="OUT", help="the Parquet file to write")
    command.set_defaults(action=commands.write_features)


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


def add_config(subparsers: Any, common: argparse.ArgumentParser) -> None:
    command = subparsers.add_parser("config", help="check or show a config, or print the schema for editors")
    kinds = command.add_subparsers(dest="kind", required=True, metavar="check|show|pbg|schema")
    for kind, text in (("check", "say what is wrong with it"), ("show", "print it resolved, with all defaults")):
        kinds.add_parser(kind, help=text, parents=[common]).set_defaults(action=commands.show_config)
    pbg = kinds.add_parser("pbg", help="print it as a module for PyTorch-BigGraph's own programs", parents=[common])
    pbg.add_argument("-o", "--output", type=Path, metavar="FILE", help="write it there instead")
    pbg.set_defaults(action=commands.show_pbg_config)
    schema = kinds.add_parser("schema", help="print the JSON Schema of run configs")
    add_output_options(schema)
    schema.set_defaults(action=commands.show_schema)


def add_init(subparsers: Any) -> None:
    command = subparsers.add_parser("init", help="look at logs and write a first config for them")
    command.add_argument("logs", type=Path, nargs="+", metavar="LOGS", help="a directory of logs, or files")
    command.add_argument(
        "--out", type=Path, default=Path("configs/mine.json"), metavar="FILE",
        help="what to write; never a file that is there (default: configs/mine.json)",
    )  # fmt: skip
    command.add_argument(
        "--assume-consent",
        metavar="WHY",
        type=utf8,
        help="state that all people agreed; the reason stands in the config",
    )
    add_root(command)
    add_output_options(command)
    command.set_defaults(action=commands.write_config)


def add_demo_data(subparsers: Any) -> None:
    command = subparsers.add_parser("demo-data", help="make a synthetic ads world with a known oracle")
    command.add_argument("directory", type=Path, metavar="DIR")
    for name, text in (
        ("users", "people in the world"),
        ("impressions", "rows of `impressions`, the ranker's ten days"),
        ("days", "days of the graph's window"),
        ("seed", "same seed, same bytes"),
    ):
        command.add_argument(f"--{name}", type=int, help=text)
    add_output_options(command)
    command.set_defaults(action=commands.make_demo_data)

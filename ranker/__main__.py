"""Trains and judges the arms without the pipeline, in one process or in several (docs/distributed.md):

    transra config show configs/demo_rank.json > resolved.json
    python -m ranker resolved.json --vectors runs/demo_rank/latest --out ranking
    torchrun --nproc-per-node=2 -m ranker resolved.json --vectors runs/demo_rank/latest --out ranking

Exit codes as `transra`: 0 done, 2 usage or config, 65 bad data, 73 does not fit, 75 another process is gone, or
another ranking writes into the directory, 130 interrupted. torchrun has its own: 0 or 1.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import ValidationError

from artifacts.errors import BusyError, ConfigError, TransraError
from artifacts.printable import one_line, printable
from ranker import RankerConfig, rank
from ranker.config.arms import chosen
from ranker.data.ids.exports import Export
from ranker.evaluation.report import table
from ranker.processes import group


def parser() -> argparse.ArgumentParser:
    root = argparse.ArgumentParser(
        prog="python -m ranker", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    root.add_argument("config", type=Path, metavar="CONFIG", help="a run config as `transra config show` prints it")
    root.add_argument("--vectors", action="append", metavar="RUN", help="a run with an export; default: ranker.vectors")
    root.add_argument("--out", type=Path, required=True, metavar="DIR", help="where report and weights go")
    root.add_argument("--arms", type=split, metavar="all|a,b,c", help="which arms of the config (ranker.compare)")
    root.add_argument("--root", type=Path, default=Path(), help="where relative paths start (here)")
    return root


def split(text: str) -> list[str]:
    return text.split(",")


def load(path: Path, arms: Sequence[str] | None) -> RankerConfig:
    """The `ranker` section of a resolved config, which compares `arms` if there are any.

    Raises ConfigError, a line per problem.
    """
    try:
        whole = json.loads(path.read_text())
        config, graph = RankerConfig.model_validate(whole["ranker"]), whole.get("graph", {})
    except ValidationError as error:
        lines = [f"{path}: ranker.{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
        raise ConfigError(*lines) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path}: expected what `transra config show` prints, with `ranker` ({error})") from error
    if graph.get("forget"):
        raise ConfigError(f"{path}: graph.forget: only `transra rank` leaves out impressions of ids to forget")
    if graph.get("ids"):
        raise ConfigError(f"{path}: graph.ids: only `transra rank` knows the graph's pseudonyms")
    if lines := [f"{path}: ranker.{'.'.join(map(str, p.path))}: {p.message}" for p in config.problems()]:
        raise ConfigError(*lines)
    return config if arms is None else config.model_copy(update={"compare": tuple(chosen(config.arms, arms))})


class Told:
    """Progress as lines on stderr: one whenever the text changes, which is at every validation."""

    def __init__(self) -> None:
        self._last = ""

    def __call__(self, step: str, fraction: float) -> None:
        if step != self._last and group.place() == 0:
            print(f"{fraction:4.0%} {one_line(step)}", file=sys.stderr, flush=True)
        self._last = step


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    try:
        with group.joined(say):
            config = load(options.config, options.arms)
            runs = {name: options.root / name for name in options.vectors or config.vectors}
            exports = {name: Export.of_run(path) for name, path in runs.items()}
            with held(options.out):
                report = rank(config, options.root, exports, options.out, Told(), options.out / "tensorboard")
            if group.place() == 0:
                print(printable(table(report)))
    except TransraError as error:
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


@contextmanager
def held(out: Path) -> Iterator[None]:
    """Makes a directory that one ranking at a time writes into; the first of its processes holds it for all.

    Raises ConfigError where it cannot be made, and BusyError where another holds it: one that was started apart, or
    processes whose launcher has not said that they are several.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--out {out}: {error.strerror or error}") from error
    if group.place() > 0:
        yield
        return
    try:
        lock = FileLock(out / ".lock", timeout=0)
        lock.acquire()
    except Timeout as error:
        several = f"one of several processes needs {', '.join(group.LAUNCHED)}"
        raise BusyError(f"{out}: another ranking writes into it; try again later ({several})") from error
    try:
        yield
    finally:
        lock.release()


def say(error: BaseException) -> None:
    """What ends the command, for a person; what Python will say itself it does not."""
    for line in error.lines if isinstance(error, TransraError) else ():
        print(f"ranker: {one_line(line)}", file=sys.stderr, flush=True)
    if isinstance(error, KeyboardInterrupt):
        print("ranker: interrupted; the same command goes on", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())

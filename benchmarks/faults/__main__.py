"""Faults at random moments: what a command makes after them must be what an undisturbed one makes, byte for byte.

    make faults                                   some minutes
    make faults-long                              hundreds
    python -m benchmarks.faults --tries 300 --jobs 2

Each try copies a workspace (of a tiny append-only world, one worker), begins a command there and does something to it:
signals to the main process, to another or to the group, once and twice; limits on the size of files and on memory; two
and ten commands at once; a clock that jumps back; another user's and a symlinked workspace; a full and a read-only file
system where mounting is allowed. A reader opens what is published all along. The answer must be documented and of one
line, nothing may outlive the command, the reader must always find whole runs; then the same command is repeated, and
must leave the bytes of an undisturbed run and no temporary file. Anything else is lost, and ends the benchmark with
exit code 1.
"""

import argparse
import json
import os
import random
import shutil
import signal
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.environment import save, surroundings
from benchmarks.faults.commands import undisturbed
from benchmarks.faults.kinds import Attack, Fault, kinds, unmount
from benchmarks.faults.reader import Reader
from benchmarks.faults.world import Situation, Situations, facts

TEMPORARY = (
    ".partial",
    ".replaced",
    ".calibration-",
    ".purged-",
    ".aside",
    "identity.json",
    "made.json",
    ".stored",
    ".holder.json",
    ".rolling-back",
)


class Undisturbed:
    """What each situation's command makes when nobody disturbs it, and how long it takes."""

    def __init__(self, directory: Path) -> None:
        self.facts: dict[str, dict[str, str]] = {}
        self.seconds: dict[str, float] = {}
        self.largest: dict[str, int] = {}
        self.grown: dict[str, int] = {}
        self.said = directory / "said"

    def measure(self, situation: Situation, workspace: Path) -> None:
        before = bytes_in(workspace)
        seconds = undisturbed(situation.arguments(workspace), self.said, situation.answer)
        self.grown[situation.name] = max(bytes_in(workspace) - before, 1 << 16)
        self.seconds[situation.name], self.facts[situation.name] = seconds, facts(workspace, situation)
        self.largest[situation.name] = max(path.stat().st_size for path in workspace.rglob("*") if path.is_file())


def bytes_in(workspace: Path) -> int:
    """What its files take of a disk."""
    found = {stat.st_ino: stat.st_blocks * 512 for path in workspace.rglob("*") if (stat := path.lstat())}
    return sum(found.values())


def attempt(situation: Situation, fault: Fault, whole: Undisturbed, place: Path, rng: random.Random) -> dict[str, Any]:
    """One try; `lost` says everything that was wrong."""
    workspace = Path(shutil.copytree(situation.before, place / "workspace", symlinks=True))
    reader = Reader(workspace, place / "read")
    of = situation.name
    sizes = whole.largest[of], whole.grown[of]
    attack = Attack(situation, workspace, place / "said", whole.seconds[of], *sizes, reader, rng)
    lost, answers = [], []
    try:
        for command in fault.inflict(attack):
            answers.append(answer := command.wait())
            documented = fault.answers | {situation.answer} | situation.refusals
            lost += [f"{what} is left" for what in command.left(answer != -signal.SIGKILL)]
            lost += judged(answer, documented, command.said)  # what its processes said after it, too
        try:
            if situation.repeated or not done(whole, situation, workspace):
                undisturbed(situation.arguments(workspace), place / "again", situation.answer)
            lost += differences(whole.facts[of], facts(workspace, situation)) + temporary(workspace)
        except Exception as error:  # the same command does not come through, or has left what cannot be read
            lost.append(str(error))
    finally:
        reads, wrong = reader.stop()
        unmount(workspace)
    return {"situation": of, "fault": fault.name, "answers": answers, "reads": reads, "lost": lost + wrong}


def done(whole: Undisturbed, situation: Situation, workspace: Path) -> bool:
    """Whether a command has done all that it does, and only its answer may be missing."""
    return not differences(whole.facts[situation.name], facts(workspace, situation)) and not temporary(workspace)


def judged(answer: int | None, documented: frozenset[int], said: Path) -> list[str]:
    """What is wrong with an answer."""
    text = said.read_text()
    lines = [line for line in text.splitlines() if not line.startswith("transra: warning: ")]
    found = [] if answer in documented else [f"the answer was {answer}: {text[-500:]}"]
    foreign = [line for line in lines if not line.startswith("transra: ")]
    if foreign or len(lines) > 1:
        found.append(f"said {len(lines)} lines: {text[-1500:]}")
    return found


def differences(expected: dict[str, str], found: dict[str, str]) -> list[str]:
    names = sorted(expected.keys() | found.keys())
    return [f"{name} differs" for name in names if expected.get(name) != found.get(name)][:5]


def temporary(workspace: Path) -> list[str]:
    return [f"{path} is left" for path in workspace.rglob("*") if any(mark in path.name for mark in TEMPORARY)]


def attempts(share: int, options: argparse.Namespace, all_of: list[Situation], whole: Undisturbed, out: Path) -> None:
    """Every job's tries, in the order of a seed; a line of JSON for each."""
    rng = random.Random(options.seed)
    pairs = [(situation, fault) for fault in kinds() for situation in all_of]
    pairs = [each for each in pairs if options.only in f"{each[0].name}: {each[1].name}"]
    order = [pair for _ in range(1 + options.tries // len(pairs)) for pair in rng.sample(pairs, len(pairs))]
    until = time.monotonic() + 60 * options.minutes
    for number, (situation, fault) in enumerate(order[: options.tries]):
        if number % options.jobs == share and time.monotonic() < until:
            place = out.parent / f"try-{number}"
            place.mkdir()
            found = attempt(situation, fault, whole, place, random.Random(f"{options.seed} {number}"))
            print(number, found, flush=True)
            with out.open("a") as file:
                file.write(json.dumps(found) + "\n")
            if not found["lost"]:
                shutil.rmtree(place)


def table(tries: list[dict[str, Any]], by: str) -> str:
    """Tried, survived and lost, by `fault` or by `situation`."""
    tried, lost = Counter(each[by] for each in tries), Counter(each[by] for each in tries if each["lost"])
    rows = [f"| {name} | {tried[name]} | {tried[name] - lost[name]} | {lost[name]} |" for name in sorted(tried)]
    total = f"| all | {len(tries)} | {len(tries) - lost.total()} | {lost.total()} |"
    return "\n".join([f"| {by} | tried | survived | lost |", "|---|---|---|---|", *rows, total])


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--tries", type=int, default=24)
    arguments.add_argument("--minutes", type=float, default=120, help="no try begins after so many")
    arguments.add_argument("--jobs", type=int, default=1, help="tries at a time")
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--only", default="", help="kinds and situations whose name has this in it")
    options = arguments.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="faults-"))
    whole, out = Undisturbed(directory), directory / "tries.jsonl"
    directory.chmod(0o755)  # another user's command has to read there
    all_of = Situations(directory, whole.measure).all()
    for situation in all_of:
        if situation.name not in whole.facts:
            copied = Path(shutil.copytree(situation.before, directory / "undisturbed", symlinks=True))
            whole.measure(situation, copied)
            shutil.rmtree(copied)
    jobs = []
    for share in range(options.jobs):
        if (pid := os.fork()) == 0:
            attempts(share, options, all_of, whole, out)
            os._exit(0)
        jobs.append(pid)
    for pid in jobs:
        os.waitpid(pid, 0)
    tries = [json.loads(line) for line in out.read_text().splitlines()]
    lost = [each for each in tries if each["lost"]]
    print(table(tries, "fault"), table(tries, "situation"), sep="\n\n")
    counts = {"tried": len(tries), "survived": len(tries) - len(lost), "lost": len(lost)}
    reads = sum(each["reads"] for each in tries)
    answers = Counter(f"{each['fault']}: {each['answers']}" for each in tries)
    details = {"reads": reads, "answers": dict(sorted(answers.items())), "losses": lost, "seed": options.seed}
    save("faults", {**counts, **details, **surroundings(["torchbiggraph", "torch", "duckdb", "h5py"])})
    print(f"{counts}; {reads} reads of what was published meanwhile")
    if lost:
        raise SystemExit(f"lost: {directory} holds what is left of them")
    shutil.rmtree(directory)


if __name__ == "__main__":
    main()

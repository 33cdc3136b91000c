"""What a person sees: progress bars on a terminal, one line per finished stage, nothing but failures under cron."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tqdm import tqdm


@dataclass(frozen=True)
class Console:
    """`quiet` prints only failures; `as_json` keeps stdout for one JSON object."""

    quiet: bool = False
    as_json: bool = False

    def say(self, text: str) -> None:
        if not self.quiet and not self.as_json:
            print(text, flush=True)

    def result(self, value: dict[str, Any]) -> None:
        """The one JSON object of `--json`."""
        if self.as_json:
            print(json.dumps(value), flush=True)

    @property
    def hidden(self) -> bool:
        """Whether nobody watches."""
        return self.quiet or self.as_json or not sys.stderr.isatty()

    @contextmanager
    def bar(self, stage: str, unit: str, total: float | None = None) -> Iterator["tqdm"]:
        """A progress bar on stderr; silent where nobody watches."""
        from tqdm import tqdm

        with tqdm(
            desc=stage, total=total, unit=unit, unit_scale=True, disable=self.hidden, leave=False, dynamic_ncols=True
        ) as bar:
            yield bar

    @contextmanager
    def steps(self, stage: str) -> Iterator[Callable[[str, float], None]]:
        """A progress bar that is told the name of the step and the fraction done; silent where nobody watches."""
        if self.hidden:
            yield lambda step, fraction: None
            return
        with self.bar(stage, "", total=1.0) as bar:

            def progress(step: str, fraction: float) -> None:
                bar.set_postfix_str(step, refresh=False)
                bar.update(fraction - bar.n)

            yield progress

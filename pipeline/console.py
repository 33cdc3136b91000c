"""What a person sees: progress bars on a terminal, one line per finished stage, nothing but failures under cron."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

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

    @contextmanager
    def bar(self, stage: str, unit: str, total: float | None = None) -> Iterator[tqdm]:
        """A progress bar on stderr; silent where nobody watches."""
        hidden = self.quiet or self.as_json or not sys.stderr.isatty()
        with tqdm(
            desc=stage, total=total, unit=unit, unit_scale=True, disable=hidden, leave=False, dynamic_ncols=True
        ) as bar:
            yield bar

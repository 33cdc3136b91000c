"""Puts the sections together: one file that needs nothing else, with the plotting library and its data inside."""

import json
from collections.abc import Callable
from datetime import datetime, timezone
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from pipeline.report.drift import drift
from pipeline.report.evaluation import evaluation
from pipeline.report.facts import Facts
from pipeline.report.graph import graph
from pipeline.report.overview import overview, verdict
from pipeline.report.parts import Section
from pipeline.report.ranking import ranking
from pipeline.report.shown import words
from pipeline.report.space import examples, space
from pipeline.report.training import training

SECTIONS = (overview, graph, training, evaluation, ranking, drift, space, examples)


def page(facts: Facts, digest: str, progress: Callable[[str, float], None]) -> str:
    """The page of a run. `digest`: of what it is made from. Raises DataError for a record or file that is broken."""
    sections = []
    for index, section in enumerate(SECTIONS):
        progress(section.__name__, index / len(SECTIONS))
        sections.append(section(facts))
    state, why = verdict(facts)
    title = f"{facts.workspace.path.name}, run {facts.run.id}"
    links = "".join(f'<li><a href="#{one.id}">{escape(one.title)}</a></li>' for one in sections)
    written = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="transra-report" content="{digest}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<link rel="icon" href="data:,">
<title>{escape(title)}</title>
<style>{_own("page.css")}</style>
</head>
<body>
<a class="skip" href="#main">Skip to the content</a>
<header>
<h1><bdi>{escape(title)}</bdi></h1>
<p class="verdict {state}"><strong>{state}</strong> {words(why)}</p>
<nav aria-label="Sections"><ul>{links}</ul></nav>
</header>
<main id="main">{"".join(section.html() for section in sections)}</main>
<footer><p>Written by <code>transra report</code> at {written} from the run's records; it asks no network.</p></footer>
<noscript><p class="missing">Charts need JavaScript; all their numbers are in the tables.</p></noscript>
<script type="application/json" id="charts">{as_data(_charts(sections))}</script>
<script>{_library()}</script>
<script>{_own("page.js")}</script>
</body>
</html>
"""


POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data: blob:; font-src data:"
)


def as_data(value: Any) -> str:
    """JSON that no parser of HTML finds a tag or a comment in."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text


def _charts(sections: list[Section]) -> list[dict[str, Any]]:
    from bokeh.core.types import ID
    from bokeh.embed import json_item

    return [dict(json_item(chart, ID(id))) for section in sections for id, chart in section.charts.items()]


def _library() -> str:
    """Bokeh's own script, as it lies in its package."""
    import bokeh

    script = Path(bokeh.__file__).parent / "server" / "static" / "js" / "bokeh.min.js"
    return script.read_text(encoding="utf-8").replace("</script", "<\\/script")


def _own(name: str) -> str:
    return files("pipeline.report").joinpath(name).read_text(encoding="utf-8")

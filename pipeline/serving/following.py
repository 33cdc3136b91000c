"""The run that `latest` leads to, opened once, and opened anew when it leads elsewhere."""

from threading import Lock

from artifacts.errors import DataError
from pipeline.lookup.published import Published
from pipeline.workspace.context import Context


class Following:
    """Gives the published run. One may be used by several threads; who was given a run before keeps it."""

    def __init__(self, context: Context) -> None:
        self._context, self._lock = context, Lock()
        self._published: Published | None = None

    def published(self) -> Published:
        """Raises ConfigError where nothing is published, DataError for a broken run; where one that is broken was
        published after a good one, the good one stays."""
        with self._lock:
            latest = self._context.workspace.latest
            if self._published is None or latest is None or latest.id != self._published.run.id:
                self._published = self._opened()
            return self._published

    def _opened(self) -> Published:
        try:
            return Published.of(self._context)
        except DataError:
            if self._published is None:
                raise
            return self._published

"""An exception on its way from a training process to the main one, with its traceback and whether it pickles or not."""

import pickle
import traceback
from dataclasses import dataclass


class WorkerTraceback(Exception):
    """The cause of what a worker raised, so that log.jsonl and `--debug` show where in the worker that was."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


@dataclass(frozen=True)
class WorkerFailure:
    """Can always be sent. `pickled` is None for an exception that would not arrive; `summary` says what it was."""

    pickled: bytes | None
    summary: str
    traceback: str

    @classmethod
    def of(cls, error: Exception) -> "WorkerFailure":
        text = "".join(traceback.format_exception(error))
        return cls(_pickled(error), f"{type(error).__name__}: {error}", text)

    def error(self) -> Exception:
        """The exception, or a RuntimeError in its stead, with the worker's traceback as its cause."""
        error: Exception = pickle.loads(self.pickled) if self.pickled else RuntimeError(self.summary)
        error.__cause__ = WorkerTraceback(self.traceback)
        return error


def _pickled(error: Exception) -> bytes | None:
    """The exception's bytes; None when it cannot be pickled, or cannot be made of them again."""
    try:
        data = pickle.dumps(error)
        pickle.loads(data)
    except Exception:  # what an exception's own __reduce__ raises may be anything
        return None
    return data

"""Object stores and other file systems that URLs name, as fsspec opens them; what they raise becomes our errors."""

from collections.abc import Iterator
from contextlib import contextmanager
from inspect import signature
from typing import Any

from artifacts.errors import ConfigError, DataError, TransraError
from artifacts.machine.exhausted import exhausted, first_line


def file_system(scheme: str) -> Any:
    """fsspec's file system of a scheme, with nothing remembered. Raises ConfigError where a URL says too little."""
    import fsspec

    # Made half, some of them print a traceback when they are collected.
    asks = list(signature(fsspec.get_filesystem_class(scheme).__init__).parameters.values())[1:]
    if any(one.default is one.empty and one.kind is one.POSITIONAL_OR_KEYWORD for one in asks):
        raise ConfigError(f"{scheme}:// needs more than a URL says; expected a path, s3://, gs:// or https://")
    system = fsspec.filesystem(scheme)
    system.invalidate_cache()
    return system


def info_of(system: Any, url: str) -> dict[str, Any] | None:
    """What a store says of a file or directory; None where there is none."""
    system.invalidate_cache()
    try:
        found: dict[str, Any] = system.info(url)
        return found
    except FileNotFoundError as error:
        if isinstance(error.__cause__, OSError) and not isinstance(error.__cause__, FileNotFoundError):
            raise error.__cause__ from None  # fsspec says so of a web server that does not answer, too
        return None


@contextmanager
def asking(url: str, fails: type[TransraError] = DataError, what: str = "read") -> Iterator[None]:
    """What a store's library raises, as one line: each library has errors of its own.

    `fails` is raised where the store is the reason that `what` cannot be done; ConfigError where a package is missing.
    """
    try:
        yield
    except TransraError:
        raise
    except ImportError as error:
        way_out = "`pip install '.[fsspec]'` has what s3:// and https:// need"
        raise ConfigError(f"{url}: {first_line(error)}; {way_out}") from error
    except FileNotFoundError as error:
        raise fails(f"{url}: there is no such bucket or file") from error
    except PermissionError as error:
        raise fails(f"{url}: not permitted ({first_line(error)}); credentials come from the environment") from error
    except (AssertionError, AttributeError, NameError, TypeError):
        raise  # a mistake in code, not of a store
    except Exception as error:  # botocore's, aiohttp's and gcsfs' have no other base in common
        if ours := exhausted(error):
            raise ours from error
        if isinstance(error, ValueError) and "Protocol not known" in str(error):
            raise ConfigError(f"{url}: {first_line(error)}; expected a path, s3://, gs:// or https://") from error
        raise fails(f"{url}: cannot be {what} ({type(error).__name__}: {first_line(error)})") from error

"""The page and the API: read-only, bounded in size, number and time, and nothing that is loaded from elsewhere."""

from collections.abc import Callable, Collection
from functools import partial
from importlib.resources import files
from threading import BoundedSemaphore
from typing import Any

import anyio
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from artifacts.errors import ConfigError, DataError, TransraError
from artifacts.printable import is_text
from pipeline.lookup.explain import explained
from pipeline.lookup.published import Published
from pipeline.serving import answers
from pipeline.serving.following import Following
from pipeline.serving.limits import Headers, Hosts
from pipeline.workspace.context import Context

MOST_K, MOST_TEXT = 100, 1024  # neighbours or edges of an answer; characters of an id or a name
SECONDS = 20.0  # that an answer may take
AT_ONCE, WAIT = 4, 5.0  # answers that are worked on together; seconds that another waits to begin
PAGE = {
    "/": ("page.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
}

Answer = Callable[..., dict[str, Any]]


class BadRequest(ValueError):
    """A parameter that is missing, too long or too large."""


class Unavailable(Exception):
    """There is no run to ask, or too many ask at once."""


def application(context: Context, hosts: Collection[str]) -> Starlette:
    """`hosts` are the names that a browser may have asked for, beside addresses."""
    following, at_once = Following(context), BoundedSemaphore(AT_ONCE)

    def route(path: str, answer: Callable[[Request], Answer]) -> Route:
        return Route(path, partial(_answered, following, at_once, answer), methods=["GET"])

    routes = [Route(path, partial(_page, name, kind), methods=["GET"]) for path, (name, kind) in PAGE.items()]
    routes += [
        route("/api/run", lambda request: partial(answers.run_facts, context)),
        route("/api/neighbors", _neighbors),
        route("/api/edges", lambda request: _with(answers.edges, request, "type", "id", k=_k(request))),
        route("/api/explain", lambda request: _pair(explained, request, k=_k(request))),
        route("/api/ranker", lambda request: _pair(partial(answers.ranker, context), request)),
    ]
    middleware = [Middleware(Headers), Middleware(Hosts, names=hosts)]
    return Starlette(routes=routes, middleware=middleware)


async def _page(name: str, kind: str, request: Request) -> Response:
    return Response(files("pipeline.serving").joinpath(name).read_bytes(), media_type=kind)


async def _answered(
    following: Following, at_once: BoundedSemaphore, answer: Callable[[Request], Answer], request: Request
) -> Response:
    """The answer of a thread, or why there is none: 400, 404, 503 where nothing is published, a resource is short, a
    file cannot be read or it takes too long."""
    try:
        asked = answer(request)
        with anyio.fail_after(SECONDS):
            work = partial(_worked, following, at_once, asked)
            return JSONResponse(await anyio.to_thread.run_sync(work, abandon_on_cancel=True))
    except BadRequest as error:
        return _refused(400, str(error))
    except TimeoutError:
        return _refused(503, f"no answer within {SECONDS:.0f} seconds")
    except Unavailable as error:
        return _refused(503, str(error))
    except ConfigError as error:
        return _refused(400, error.lines[0])
    except DataError as error:
        return _refused(404, error.lines[0])
    except TransraError as error:
        return _refused(503, error.lines[0])
    except OSError as error:
        return _refused(503, f"cannot be read now ({error.strerror or type(error).__name__})")


def _worked(following: Following, at_once: BoundedSemaphore, asked: Answer) -> dict[str, Any]:
    """The work of a thread. One that is given up for its time still counts until it ends."""
    if not at_once.acquire(timeout=WAIT):
        raise Unavailable("busy with other answers; ask again")
    try:
        return asked(_published(following))
    finally:
        at_once.release()


def _published(following: Following) -> Published:
    try:
        return following.published()
    except TransraError as error:
        raise Unavailable(error.lines[0]) from error


def _refused(status: int, why: str) -> JSONResponse:
    return JSONResponse({"error": why}, status_code=status)


def _neighbors(request: Request) -> Answer:
    to = request.query_params.get("to") or _text(request, "type")
    return _with(answers.neighbors, request, "type", "id", to=to, k=_k(request))


def _pair(answer: Answer, request: Request, **more: Any) -> Answer:
    by = _text(request, "relation") if "relation" in request.query_params else None
    return _with(answer, request, "user", "ad", by=by, **more)


def _with(answer: Answer, request: Request, *names: str, **more: Any) -> Answer:
    """The answer that asks the run alone."""
    return partial(answer, **{name: _text(request, name) for name in names}, **more)


def _text(request: Request, name: str) -> str:
    found = request.query_params.get(name, "")
    if not 0 < len(found) <= MOST_TEXT or not is_text(found):
        raise BadRequest(f"{name}: expected text of 1 to {MOST_TEXT} characters")
    return found


def _k(request: Request) -> int:
    found = request.query_params.get("k", "10")
    if not (found.isascii() and found.isdecimal() and 1 <= int(found[:9]) <= MOST_K):
        raise BadRequest(f"k: expected a whole number from 1 to {MOST_K}")
    return int(found)

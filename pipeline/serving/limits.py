"""What every answer says to a browser, and that a request has no body, a short question and a name of this machine."""

from collections.abc import Collection
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from starlette.datastructures import MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
}
MOST_QUERY = 8 << 10  # bytes


class Headers:
    """Refuses requests with a body (413) or a long query (414), and adds HEADERS to every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif _has_body(scope):
            await JSONResponse({"error": "expected no body"}, status_code=413)(scope, receive, with_headers)
        elif len(scope["query_string"]) > MOST_QUERY:
            await JSONResponse({"error": "too long a query"}, status_code=414)(scope, receive, with_headers)
        else:
            await self._app(scope, receive, with_headers)


class Hosts:
    """Refuses requests (400) for a name that is neither an address nor one of `names`.

    A page elsewhere may lead its own name here, and a browser then lets it read the answers (DNS rebinding); it cannot
    lead an address.
    """

    def __init__(self, app: ASGIApp, names: Collection[str]) -> None:
        self._app, self._names = app, {name.lower().removesuffix(".") for name in names}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self._allows(dict(scope["headers"]).get(b"host", b"").decode("latin-1")):
            await self._app(scope, receive, send)
        else:
            await JSONResponse({"error": "asked by another name than this machine's"}, status_code=400)(
                scope, receive, send
            )

    def _allows(self, host: str) -> bool:
        if host.startswith("["):
            address, bracket, port = host[1:].partition("]")
            return bracket != "" and _is_port(port) and _is_address(address, IPv6Address)
        name, colon, port = host.lower().partition(":")
        known = name.removesuffix(".") in self._names or _is_address(name, IPv4Address)
        return known and _is_port(colon + port)


def _is_address(text: str, kind: type[IPv4Address] | type[IPv6Address]) -> bool:
    try:
        kind(text)
    except AddressValueError:
        return False
    return True


def _is_port(text: str) -> bool:
    """Whether it is nothing, or a colon with a port or without (RFC 3986, section 3.2.3)."""
    return text in ("", ":") or (text[0] == ":" and text[1:].isdecimal())


def _has_body(scope: Scope) -> bool:
    headers = dict(scope["headers"])
    return headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers

"""Ids by which nobody is found without a key: HMAC-SHA-256 (RFC 2104) of an id's text, as lower-case hexadecimal.

Importing this is light: a command asks for the key before it knows whether there is anything to do.
"""

import hmac
import os
from hashlib import sha256
from typing import TYPE_CHECKING

from artifacts.errors import ConfigError

if TYPE_CHECKING:
    import pyarrow as pa

_BLOCK = 64  # bytes of SHA-256
_LEAST = 16  # bytes of a key: a shorter one can be tried out


def read_key(variable: str, path: str) -> bytes:
    """The key in an environment variable, which the config names at `path`. Raises ConfigError for none or a short one.

    The key is the text of the variable in UTF-8.
    """
    key = os.environ.get(variable, "").encode()
    if len(key) < _LEAST:
        what = "is not set" if not key else f"has {len(key)} bytes"
        raise ConfigError(
            f"{path}: the environment variable {variable} {what}; expected a key of {_LEAST} bytes or more"
        )
    return key


def key_mark(key: bytes) -> str:
    """What tells a key from another without saying it."""
    return hmac.digest(key, b"transra: which key is this?", "sha256").hex()[:16]


def pads(key: bytes) -> tuple[bytes, bytes]:
    """What the inner and the outer hash of an HMAC begin with."""
    block = (sha256(key).digest() if len(key) > _BLOCK else key).ljust(_BLOCK, b"\0")
    return bytes(byte ^ 0x36 for byte in block), bytes(byte ^ 0x5C for byte in block)


def pseudonym(id: str, key: bytes) -> str:
    return hmac.digest(key, id.encode(), "sha256").hex()


def pseudonyms(ids: "pa.Array", key: bytes) -> "pa.LargeStringArray":
    """Texts (N,) as pseudonyms (N,), nulls kept; each distinct text once."""
    import pyarrow as pa

    encoded = ids.cast(pa.large_string()).dictionary_encode()
    known = [None if id is None else pseudonym(id, key) for id in encoded.dictionary.to_pylist()]
    return pa.array(known, pa.large_string()).take(encoded.indices)

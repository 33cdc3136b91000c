"""Disk or memory is full: each library says so in its own words, and here they become one error of ours."""

import errno
import os
import re

from artifacts.errors import ResourceError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # the disk, a quota, or a limit on the size of files
_SHORT_WRITE = re.compile(r"\d+ requested and \d+ written|basic_ios::clear: iostream error")  # tofile, torch.save
_TORCH_MEMORY = re.compile(r"DefaultCPUAllocator|unable to (?:m?map|allocate shared memory)|out of memory", re.I)


def exhausted(error: BaseException) -> ResourceError | None:
    """The error as a person can act on it: ResourceError of one line; None when neither disk nor memory is full."""
    if isinstance(error, MemoryError):  # Arrow's, too
        return ResourceError(f"there is not enough memory ({first_line(error) or 'it cannot be had'})")
    if not isinstance(error, OSError | RuntimeError):
        return None
    name = getattr(error, "filename", None)
    if is_full(error):
        reason = getattr(error, "strerror", None) or first_line(error)
        return ResourceError(f"{name}: the disk is full ({reason})" if name else f"the disk is full ({reason})")
    if getattr(error, "errno", None) == errno.ENOMEM or _TORCH_MEMORY.search(str(error)):
        return ResourceError(f"there is not enough memory ({first_line(error)})")
    return None


def is_full(error: BaseException) -> bool:
    """Whether a library says, in its own words, that nothing more can be written."""
    known = getattr(error, "errno", None) in FULL or any(os.strerror(code) in str(error) for code in FULL)
    return known or _SHORT_WRITE.fullmatch(str(error)) is not None


def first_line(error: BaseException) -> str:
    """The beginning of what a library says, which may go on for a page."""
    return str(error).strip().partition("\n")[0]

"""What the parts of a pattern mean, for files and for stores alike."""

from fnmatch import fnmatchcase

MAGIC = "*?["


def is_magic(part: str) -> bool:
    """Whether a part of a pattern may stand for other names than itself."""
    return any(c in part for c in MAGIC)


def is_data(name: str, part: str = "") -> bool:
    """Whether a name is one of data: it begins with neither `.` nor `_`, unless the pattern's part spells that."""
    return name[:1] not in (".", "_") or part[:1] == name[:1]


def fits(name: str, part: str) -> bool:
    """Whether a part of a pattern stands for a name."""
    return fnmatchcase(name, part) and is_data(name, part)


def names_file(names: list[str], parts: list[str], suffixes: tuple[str, ...]) -> bool:
    """Whether a file, by its names below a base, is what the rest of a pattern names, or lies below such a directory.

    Without names, the base is the file. Only below a directory do `suffixes` choose.
    """
    if not parts:
        return all(map(is_data, names)) and (not names or names[-1].lower().endswith(suffixes))
    first, *rest = parts
    if first == "**" and rest:
        deeper = len(names) > 1 and is_data(names[0]) and names_file(names[1:], parts, suffixes)
        return deeper or names_file(names, rest, suffixes)
    if first == "**":
        return names_file(names, [], suffixes)
    if not names:
        return False
    here = fits(names[0], first) if is_magic(first) else names[0] == first
    return here and names_file(names[1:], rest, suffixes)

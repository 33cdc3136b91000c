"""What a graph with derived relations, weights, hub caps, minimum degrees and a list to forget must be: in pandas."""

import hashlib

import pandas as pd

SPLITS = {"train": 0, "valid": 1, "test": 2}
EDGE = ["relation", "lhs", "rhs"]
SIDE = {"lhs": "user", "click": "ad", "liked": "advertiser"}  # types of the left side, and of the right by relation
MASK = (1 << 64) - 1


def meaning_config(partitions: int, caps: dict[str, int | None], least: dict[str, int | None]) -> dict:
    """click, with an inverse: user to ad; liked, weighted: user to the advertiser of the ad; `caps` by "click lhs"."""
    user, ad = {"type": "user", "column": "user"}, {"type": "ad", "column": "ad"}
    advertiser = {
        "type": "advertiser",
        "column": "ad",
        "join": {"source": "ads", "column": "ad", "to": "advertiser"},
    }
    relation = {"source": "events", "allow_empty": True}
    return {
        "partitions": partitions,
        "sources": {
            "events": {"path": "events.parquet", "time_column": "ts", "time_unit": "s"},
            "ads": {"path": "ads.csv"},
            "forgotten": {"path": "forgotten.csv"},
        },
        "entities": {name: {"min_degree": least.get(name)} for name in ("user", "ad", "advertiser")},
        "relations": [
            {
                **relation,
                "name": "click",
                "inverse": "clicked_by",
                "lhs": {**user, "max_degree": caps.get("click lhs")},
                "rhs": {**ad, "max_degree": caps.get("click rhs")},
            },
            {
                **relation,
                "name": "liked",
                "weight": "amount",
                "lhs": user,
                "rhs": {**advertiser, "max_degree": caps.get("liked rhs")},
            },
        ],
        "forget": {"source": "forgotten"},
        "split": {"time": {"valid_from": 50, "test_from": 70}},
    }


def meaning(
    events: pd.DataFrame, ads: pd.DataFrame, forgotten: set[tuple[str, str]], caps: dict, least: dict
) -> list[tuple]:
    """(split, relation, lhs, rhs, weight) of every edge, sorted."""
    events = events.assign(split=[2 if ts >= 70 else 1 if ts >= 50 else 0 for ts in events.ts])
    click = events.rename(columns={"user": "lhs", "ad": "rhs"}).assign(relation="click", amount=1)
    liked = events.merge(ads.drop_duplicates(), on="ad").rename(columns={"user": "lhs", "advertiser": "rhs"})
    liked = liked.assign(relation="liked").groupby(["split", *EDGE], as_index=False).amount.sum()
    edges = pd.concat([click, liked])[["split", *EDGE, "amount"]].reset_index(drop=True)
    gone = [("user", e.lhs) in forgotten or (SIDE[e.relation], e.rhs) in forgotten for e in edges.itertuples()]
    edges = where(edges, [not g for g in gone])
    edges = edges[edges.split == edges.groupby(EDGE).split.transform("min")]
    for side in ("lhs", "rhs"):
        edges = capped(edges, side, caps)
    edges = settled(edges, least)
    back = edges[edges.relation == "click"].rename(columns={"lhs": "rhs", "rhs": "lhs"}).assign(relation="clicked_by")
    names = list(SPLITS)
    both = pd.concat([edges, back])
    return sorted((names[e.split], e.relation, e.lhs, e.rhs, float(e.amount)) for e in both.itertuples())


def where(frame: pd.DataFrame, mask: list[bool]) -> pd.DataFrame:
    """Rows where the mask is true; unlike frame[mask] also of an empty frame."""
    return frame[pd.Series(mask, index=frame.index, dtype=bool)]


def capped(edges: pd.DataFrame, side: str, caps: dict) -> pd.DataFrame:
    """Without the training edges beyond the cap of an entity, highest hash first."""
    train, rest = edges[edges.split == 0], edges[edges.split > 0]
    train = train.assign(drawn=[drawn(*edge) for edge in train[EDGE].itertuples(index=False)])
    train = train.sort_values("drawn")
    rank = train.groupby(["relation", side]).cumcount()
    keep = [at < (caps.get(f"{name} {side}") or 10**9) for name, at in zip(train.relation, rank, strict=True)]
    return pd.concat([where(train, keep).drop(columns="drawn"), rest])


def drawn(relation: str, lhs: str, rhs: str) -> int:
    digests = [hashlib.md5(text.encode()).digest()[8:] for text in (f"0\tmax_degree\t{relation}", lhs, rhs)]
    salt, head, tail = (int.from_bytes(digest, "little") for digest in digests)
    return mixed(mixed(mixed(salt) ^ head) ^ tail)


def mixed(x: int) -> int:
    """splitmix64's finaliser."""
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB & MASK
    return x ^ (x >> 31)


def settled(edges: pd.DataFrame, least: dict) -> pd.DataFrame:
    """What is left when entities below the minimum degree leave one after the other."""
    lhs = [("user", id) for id in edges.lhs]
    rhs = [(SIDE[e.relation], e.rhs) for e in edges.itertuples()]
    degree = pd.Series(
        [end for pair in zip(lhs, rhs, edges.split, strict=True) if pair[2] == 0 for end in pair[:2]], dtype=object
    ).value_counts()
    low = [any((degree.get(end, 0)) < (least.get(end[0]) or 0) for end in pair) for pair in zip(lhs, rhs, strict=True)]
    return settled(where(edges, [not x for x in low]), least) if any(low) else edges

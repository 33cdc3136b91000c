"""Which words in names of columns, actions and files say what they are. What no word says is left to a person."""

import re
from collections.abc import Collection

PEOPLE = {
    *("user", "person", "people", "customer", "visitor", "member", "household", "account", "client", "consumer"),
    *("shopper", "buyer", "reader", "viewer", "listener", "subscriber", "player", "patient", "student", "profile"),
}
THINGS = {
    *("ad", "item", "product", "article", "pin", "campaign", "coupon", "advertiser", "merchant", "seller", "shop"),
    *("store", "brand", "topic", "category", "movie", "book", "song", "track", "artist", "video", "post", "page"),
    *(
        "creative",
        "offer",
        "publisher",
        "author",
        "game",
        "app",
        "hotel",
        "restaurant",
        "recipe",
        "job",
        "sku",
        "listing",
    ),
}
GROUPS = {
    *("category", "department", "topic", "genre", "brand", "type", "manufacturer", "class", "segment", "vertical"),
    *("industry", "format", "author", "publisher", "merchant", "advertiser", "seller", "shop", "campaign", "artist"),
}
ID_ENDINGS = ("id", "ids", "key", "upc", "sku", "gtin", "isbn", "asin", "uid", "uuid", "guid", "idx", "index")
OTHER_OF_A_TYPE = ("other", "related", "similar", "source", "src", "target", "dst", "from", "to", "second", "next")
ACTIONS = {"action", "event", "activity", "behavior", "behaviour", "interaction", "verb", "engagement", "kind", "type"}
TIMES = ("ts", "timestamp", "time", "datetime", "date", "at", "when", "day", "created", "occurred", "utc", "epoch")
LABELS = {"click", "clicked", "conversion", "converted", "purchase", "purchased", "label", "bought", "liked"}
OFFSITE = {
    *(
        "checkout",
        "purchase",
        "purchased",
        "order",
        "ordered",
        "buy",
        "bought",
        "conversion",
        "converted",
        "cart",
        "basket",
        "signup",
    ),
    *("booking", "booked", "reservation", "reserved", "pixel", "postback"),
    *("visit", "lead", "payment", "transaction", "install", "subscribe", "register", "registration", "sale", "offsite"),
}
ONSITE = {  # in a log that also holds what is offsite; `view` and `page` may be a shop's own
    *("click", "clicked", "tap", "tapped", "save", "saved", "like", "liked", "favorite", "favourite", "fav", "love"),
    *("react", "reaction", "share", "shared", "comment", "commented", "reply", "follow", "followed", "vote", "upvote"),
    *("swipe", "closeup", "pin", "pinned", "repin", "ad"),
}
SHOWN = {"impression", "impressions", "served", "shown", "exposure", "exposures", "delivered"}
NEGATIVE = {
    "hide",
    "hidden",
    "dislike",
    "report",
    "block",
    "unsubscribe",
    "skip",
    "dismiss",
    "unlike",
    "unfollow",
    "mute",
}
CONSENT = {"consent", "consented", "opted", "opt", "optin", "optedin", "agreed", "permission", "gdpr", "agreement"}
CONTRARY = {"optout", "optedout", "unconsented", "nonconsent", "noconsent", "unsubscribed", "dnt"}  # also says consent
WITHDRAWN = {
    *("withdrawn", "withdrawal", "withdrew", "revoked", "revocation", "declined", "refused", "denied", "rejected"),
    *("suppressed", "suppression", "blocked", "cancelled", "canceled", "expired", "expires", "expiry", "expiration"),
    *("objection", "objected", "unsubscribe", "unsubscribed", "blocklist", "blacklist", "removed", "removal"),
    *("inactive", "churned", "ended", "till", "invalid"),
}
SAYS_SO = {"consent", "consented", "optin", "optedin", "in", "agree", "agreed"}  # of AGREED; `in` of `opted in`
AGREED = {  # what may stand in a name that says consent and not its opposite
    *("consent", "consented", "opt", "opted", "in", "optin", "optedin", "agree", "agreed", "given", "granted"),
    *("accepted", "is", "has", "have", "status", "state", "answer", "response", "choice", "value", "flag", "gdpr"),
    *(PEOPLE - {"subscriber"}),
}
TO_WHAT = {  # an answer may be about, also in a table of people
    *("purpose", "channel", "scope", "vendor", "topic", "category", "brand", "site", "product", "question", "choice"),
}
WHEN = {  # somebody agreed, beside TIMES
    *("updated", "modified", "changed", "recorded", "stored", "inserted", "loaded", "ingested", "received"),
    *("collected", "captured", "submitted", "answered", "on", "since", "last", "first"),
}
HOW = {  # somebody was asked: another page may ask another question
    *("source", "method", "text", "string", "platform", "policy", "form", "banner", "page", "url"),
    *("device", "browser", "os", "agent"),
}
OF_NO_EFFECT = {*HOW, "version", "hash", "ip", "id", "uuid", "guid", "by", "log"}
OF_WHOM = {  # attributes of people
    *("country", "region", "city", "zip", "postcode", "timezone", "tz", "language", "lang", "locale", "currency"),
    *("age", "birth", "birthday", "birthdate", "dob", "gender", "sex", "email", "phone", "hash", "plan"),
}
SEEN = {  # what people did once: times of it are no answers
    *("signup", "sign", "signed", "up", "registered", "registration", "join", "joined", "login", "logged", "seen"),
    *("visit", "visited", "active", "order", "purchase", "first", "last"),
}
LISTS = {
    "log",
    "history",
    "record",
    "table",
    "list",
    "data",
    "export",
    "current",
    "latest",
    "all",
    "event",
    "interval",
    "period",
}
FORGET = {"forget", "forgotten", "erase", "erasure", "erased", "delete", "deleted", "deletion", "rtbf", "dsar"}
COUNTS = {"n", "num", "number", "count", "total", "avg", "mean", "max", "min", "is", "has", "per"}
YES = {"yes", "y", "true", "t", "1", "granted", "given", "in", "opted_in", "optin", "accepted", "agreed", "allow"}
NO = {
    "no",
    "n",
    "false",
    "f",
    "0",
    "denied",
    "refused",
    "out",
    "opted_out",
    "optout",
    "rejected",
    "withdrawn",
    "revoked",
}
SINCE = ("since", "from", "begin", "begins", "start", "granted")
UNTIL = ("until", "to", "end", "ends", "withdrawn", "expired", "expires", "expiry")


def words(name: str) -> list[str]:
    """The lower-case words of a name: `userId`, `user_id` and `user-id` have two."""
    return [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+|[^\W\d_]+", name)]


def one_of(name: str, known: Collection[str]) -> bool:
    """Whether a word of the name is known, also in the plural."""
    return any(word in known or singular(word) in known for word in words(name))


def singular(word: str) -> str:
    """An English noun without its plural, as far as column names go."""
    if word.endswith("ies") and len(word) > 4:
        return f"{word[:-3]}y"
    return word[:-1] if word.endswith("s") and not word.endswith(("ss", "us", "is")) else word


def plain(text: str) -> str:
    """A text as a name of letters, digits and single underscores, "" where nothing of it is left."""
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")


def stem_of(column: str) -> str | None:
    """What a column of ids is of: `user` of `user_id`, `userid` and `user`, "" of `id`; None where no word says ids."""
    found = words(column)
    if found and found[-1] in ID_ENDINGS:
        found = found[:-1]
    elif found and (ending := _glued(found[-1])):
        found = [*found[:-1], ending]
    elif not found or found[-1] not in PEOPLE | THINGS or found[0] in COUNTS:  # in the plural, it counts them
        return None
    return "_".join([*found[:-1], singular(found[-1])]) if found else ""


def says_user(column: str) -> bool:
    """Whether a column of ids may be of people though it does not say of what it is."""
    return words(column) == ["uid"]


def _glued(word: str) -> str | None:
    """`user` of `userid`."""
    known = next((word.removesuffix(end) for end in ("id", "uuid") if word.endswith(end)), None)
    return known if known in PEOPLE | THINGS else None

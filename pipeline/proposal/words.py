"""Which words in names of columns, actions and files say what they are. What no word says is left to a person."""

import re
from collections.abc import Collection
from unicodedata import combining, normalize
from zlib import crc32

PEOPLE = {
    *("user", "person", "people", "customer", "visitor", "member", "household", "account", "client", "consumer"),
    *("reviewer", "rater", "guest", "traveler", "traveller", "learner", "cust"),
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
GOODS_ENDINGS = ("upc", "sku", "gtin", "isbn", "asin")  # say goods where nothing stands before them
NUMBER_ENDINGS = ("no", "nr", "number")  # of ids too, but also of places in a list
NOUN_ENDINGS = (*NUMBER_ENDINGS, "ref", "reference", "code", "hash")  # say ids of what has ids, and nothing elsewhere
PLACES = {"page", "track"}  # whose number is the place of one
ACTORS = {"session", "device", "cookie"}  # act where no column is of people
CONTEXT = {  # where and how something was done, beside what it was done with
    *("city", "country", "region", "state", "dma", "metro", "zip", "location", "geo", "timezone", "language", "locale"),
    *("device", "browser", "os", "system", "platform", "channel", "stream", "currency", "session", "cookie"),
}
COPIES = {"export", "dataset", "data", "sample", "dump", "table", "list", "all", "train", "valid", "test"}
OTHER_OF_A_TYPE = {
    *("parent", "other", "related", "similar", "source", "src", "target", "dst", "from", "to", "second", "next"),
}
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
    *("long", "short", "double"),  # of a click
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
ENDS = {  # an agreement, also as an action in a log, where other things are removed and cancelled
    *("withdraw", "withdrawn", "withdrawal", "withdrew", "revoke", "revoked", "revocation", "objection", "objected"),
    *("unsubscribe", "unsubscribed"),
}
WITHDRAWN = {
    *("declined", "refused", "denied", "rejected", "suppressed", "suppression", "blocked", "cancelled", "canceled"),
    *("expired", "expires", "expiry", "expiration", "blocklist", "blacklist", "removed", "removal"),
    *("inactive", "churned", "ended", "till", "invalid", *ENDS),
}
TRADE = {  # what is cancelled, declined and expires without a word of consent
    *("order", "booking", "reservation", "payment", "transaction", "purchase", "checkout", "sale", "cart", "basket"),
    *("shipment", "delivery", "invoice"),
}
PLAIN = PEOPLE | THINGS | {"session"}  # say ids by themselves
NOUNS = PEOPLE | THINGS | TRADE | {"placement", "adgroup", "adset", "stock", "prod"}  # what has ids
PERMITS = {  # what somebody says yes or no to, which may be what consent is asked for
    *("allow", "allowed", "permit", "permitted", "accept", "accepted", "ok", "okay", "tracking", "tracked", "ads"),
    *("marketing", "personalization", "personalisation", "personalized", "personalised", "targeting"),
    *("targeted", "profiling", "privacy", "cookie", "ccpa", "lgpd", "tcf", "sharing"),
    *("gpc", "lmt", "dns", "sell", "coppa", "minor", "child", "underage"),  # signals of browsers, and who cannot agree
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
RECORDS = {  # what is kept of people beside LISTS, none of which says whether they agreed
    *("login", "logon", "session", "visit", "view", "pageview", "page", "click", "save", "like", "play", "search"),
    *("query", "review", "rating", "signup", "registration", "device", "address", "location", "activity", "crm"),
    *("contact", "demographic", "attribute", "feature", "score", "loyalty", "point", *TRADE),
    *("preference", "setting", "attribution", "dim"),
}
FORGET = {"forget", "forgotten", "erase", "erasure", "erased", "delete", "deleted", "deletion", "rtbf", "dsar"}
NEUTRAL = {  # of actions: what people do with things, wherever they do it
    *("view", "viewed", "page", "pageview", "screen", "item", "product", "search", "searched", "play"),
    *("played", "open", "opened", "read", "watch", "watched", "listen", "stream", "scroll", "hover", "rate", "rated"),
    *("rating", "review", "start", "started", "end", "ended", "finish", "finished", "complete", "completed"),
    *("session", "login", "logout"),
}
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
_MADE_UP = "type_"
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
    if word.endswith(("ches", "shes", "sses", "xes")):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith(("ss", "us", "is")) else word


def plain(text: str) -> str:
    """A text as a name of letters, of any script, digits and single underscores, "" where nothing of it is left."""
    return re.sub(r"[\W_]+", "_", normalize("NFC", text).lower()).strip("_")


def type_name(text: str) -> str:
    """The same as a name of an entity type, which has ASCII letters only: accents go, and what is written in another
    script has a name of its own, since two types must not become one; "" where nothing is left."""
    bare = plain("".join(one for one in normalize("NFKD", text) if not combining(one)))
    return bare if bare.isascii() else f"{_MADE_UP}{crc32(plain(text).encode()):08x}"


def is_made_up(type: str) -> bool:
    """Whether a type's name says nothing of what it is."""
    return type.startswith(_MADE_UP)


def is_readable(name: str) -> bool:
    """Whether a name is of ASCII letters, digits and what stands between words: a `!`, or a word of another script, may
    be a `not`."""
    return re.fullmatch(r"[A-Za-z0-9_\s.()-]*", name) is not None


def stem_of(column: str) -> str | None:
    """What a column of ids is of: `user` of `user_id`, `userid`, `user_no` and `user`, "" of `id`; None where no word
    says ids."""
    found = words(column)
    if found and found[-1] in GOODS_ENDINGS and {*found[:-1]} <= OTHER_OF_A_TYPE:
        return "_".join(found)
    if (found and found[-1] in ID_ENDINGS) or by_noun(column):
        found = found[:-1]
    elif found and (ending := _glued(found[-1])):
        found = [*found[:-1], ending]
    elif not found or found[-1] not in PLAIN or found[0] in COUNTS:  # in the plural, it counts them
        return None
    return "_".join([*found[:-1], singular(found[-1])]) if found else ""


def by_noun(column: str) -> bool:
    """Whether a column is one of ids by what its last word follows: `member_no` and `creative_ref` are, `floor_no` and
    `country_code` are not."""
    *before, end = words(column) or [""]
    if end not in NOUN_ENDINGS or not before or before[0] in COUNTS:
        return False
    return any(one in NOUNS for one in (before[-1], "".join(before[-2:]))) and not is_number(column, PLACES)


def is_number(column: str, of: Collection[str] = NOUNS - PEOPLE) -> bool:
    """Whether a column has numbers of some things, which may be places in a list."""
    found = words(column)
    return len(found) > 1 and found[-1] in NUMBER_ENDINGS and found[-2] in of


def says_user(column: str) -> bool:
    """Whether a column of ids may be of people though it does not say of what it is."""
    return words(column) in (["uid"], ["uuid"], ["guid"])


def acts(type: str) -> bool:
    """Whether a type is of what acts in place of people: `session`, `ga_session`, `device`."""
    return type.split("_")[-1] in ACTORS


def is_context(type: str) -> bool:
    """Whether a type is of where or how something was done: `city`, `device_category`, `sales_channel`."""
    return bool({*type.split("_")} & CONTEXT)


def _glued(word: str) -> str | None:
    """`user` of `userid`."""
    known = next((word.removesuffix(end) for end in ("id", "uuid") if word.endswith(end)), None)
    return known if known in PLAIN else None

"""What rows are about in the shapes of public data sets and exports: who acts, tables with times, names, places."""

from pathlib import Path

import pandas as pd
import pytest

from pipeline.cli import main
from tests.worlds.proposals import proposed, relations, runs, undecided

ROWS = range(300)
TIMES = [f"2026-01-{1 + row // 15:02d}T{row % 24:02d}:00:00" for row in ROWS]
USERS, ITEMS = [f"u{row * 7 % 31}" for row in ROWS], [f"i{row * row % 23}" for row in ROWS]


def written(directory: Path, name: str, **columns: object) -> Path:
    logs = directory / "logs"
    logs.mkdir(exist_ok=True)
    pd.DataFrame(columns).to_csv(logs / f"{name}.csv", index=False)
    return logs


def joined(directory: Path, logs: Path) -> dict[str, tuple[str, str, str]]:
    return {
        name: (one.domain, one.lhs.type, one.rhs.type) for name, one in relations(proposed(directory, logs)).items()
    }


def test_a_table_with_a_time_is_no_log(tmp_path: Path) -> None:
    """Its last rows were held out, and its relation was an anchor."""
    written(tmp_path, "ratings", user_id=USERS, item_id=ITEMS, timestamp=TIMES)
    brands = [f"b{row % 5}" for row in range(23)]
    logs = written(tmp_path, "items", item_id=[f"i{row}" for row in range(23)], brand_id=brands, created_at=TIMES[:23])
    found = joined(tmp_path, logs)
    assert found == {"ratings": ("onsite", "user", "item"), "item_brand": ("side", "item", "brand")}
    runs(tmp_path, "--until", "partition")


def test_people_in_tables_act_in_no_relation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(tmp_path, "ratings", user_id=USERS, ad_id=ITEMS, timestamp=TIMES)
    ads = {"ad_id": [f"i{row}" for row in range(23)], "campaign_id": [f"c{row % 5}" for row in range(23)]}
    written(tmp_path, "ad_feature", **ads, customer=[f"k{row % 4}" for row in range(23)])
    people = [f"u{row}" for row in range(31)]
    logs = written(tmp_path, "user_profile", user_id=people, shop_id=[f"s{row % 5}" for row in range(31)])
    found = joined(tmp_path, logs)
    assert found == {"ratings": ("onsite", "user", "ad"), "ad_campaign": ("side", "ad", "campaign")}
    said = undecided(capsys, tmp_path, logs)
    assert "ad_feature: customer: of people, whom a side relation would bring in; it is left out" in said
    assert any(line.startswith("user_profile: holds attributes of people") for line in said)


@pytest.mark.parametrize("key", ["Id", "order_id"])
def test_what_an_export_of_orders_holds_needs_consent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], key: str
) -> None:
    """By `Id` its type was `export`, and what was bought joined the graph."""
    logs = written(tmp_path, "orders_export", **{key: list(ROWS), "Lineitem sku": ITEMS})
    assert main(["init", str(logs), "--out", str(tmp_path / "mine.json")]) == 65
    told = capsys.readouterr().err
    assert "order_lineitem: its rows need consent" in told and "--assume-consent" in told


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"item": ITEMS, "session": USERS}, {"log": ("onsite", "session", "item")}),
        ({"device_id": USERS, "item_id": ITEMS}, {"log": ("onsite", "device", "item")}),
        ({"asin": ITEMS, "reviewerID": USERS}, {"log": ("onsite", "reviewer", "asin")}),
        ({"User-ID": USERS, "ISBN": ITEMS}, {"log": ("onsite", "user", "isbn")}),
        ({"item_id": ITEMS, "user_pseudo_id": USERS}, {"log": ("onsite", "user_pseudo", "item")}),
        *(
            (
                {"user_id": USERS, "item_id": ITEMS, place: [f"c{row // 9 % 13}" for row in ROWS]},
                {"log": ("onsite", "user", "item")},
            )
            for place in ("city_id", "sales_channel_id", "device_category", "ga_session_id")
        ),
        ({"user_id": USERS, "city_id": ITEMS}, {"log": ("onsite", "user", "city")}),
        (
            {"user_id": USERS, "hotel_id": ITEMS, "city_id": [f"c{int(item[1:]) % 4}" for item in ITEMS]},
            {"log": ("onsite", "user", "hotel"), "hotel_city": ("side", "hotel", "city")},
        ),
        ({"id": list(ROWS), "display_id": USERS, "ad_id": ITEMS, "clicked": [0, 1, 0] * 100}, {"clicked": None}),
    ],
)
def test_who_acts_and_on_what(
    tmp_path: Path, columns: dict[str, list[object]], expected: dict[str, tuple[str, str, str] | None]
) -> None:
    found = joined(tmp_path, written(tmp_path, "log", **columns, time=TIMES))
    assert {name: found.get(name) if one else None for name, one in expected.items()} == expected
    assert {*found} == {*expected}


def test_a_name_beside_its_id_is_no_id(tmp_path: Path) -> None:
    ids = list(range(1, 11))
    written(tmp_path, "departments", department_id=ids, department=[f"d{one}" for one in ids])
    written(tmp_path, "categories", category_id=ids, category=[f"c{one}" for one in ids])
    products = {"product_id": list(ROWS), "department_id": [1 + row % 10 for row in ROWS]}
    logs = written(tmp_path, "products", **products, category_id=[1 + row % 9 for row in ROWS])
    assert {*joined(tmp_path, logs)} == {"product_department", "product_category"}

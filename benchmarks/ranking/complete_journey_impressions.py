"""The exposures of Complete Journey 2.0 as impressions for the ranker, from the campaigns that the graph does not see.

    make real-impressions
    transra run configs/complete_journey_rank.json

A household receives a campaign on the day it starts and converts when it redeems one of its coupons. What is known of
the household then: what it received and redeemed before, and the products it bought last (a sample of transactions).
"""

import argparse
from pathlib import Path

import duckdb

FROM = "2017-08-08"  # the graph of configs/complete_journey_rank.json ends before
RECENT = 20

IMPRESSIONS = """
COPY (
    SELECT e.household_id, e.campaign_id, e.campaign_type, e.n_coupons,
        epoch(e.start_date::TIMESTAMP)::BIGINT AS ts,
        e.converted AS conversion,
        epoch(e.first_redemption::TIMESTAMP)::BIGINT AS conversion_ts,
        (SELECT count(*) FROM exposures p
            WHERE p.household_id = e.household_id AND p.end_date < e.start_date) AS prior_exposures,
        (SELECT count(*) FROM exposures p
            WHERE p.household_id = e.household_id AND p.first_redemption < e.start_date) AS prior_conversions,
        coalesce((SELECT list(t.product_id ORDER BY t.ts DESC, t.product_id)[:{recent}] FROM transactions t
            WHERE t.household_id = e.household_id AND t.ts < epoch(e.start_date::TIMESTAMP)), []) AS recent_products,
        coalesce((SELECT list(t.ts ORDER BY t.ts DESC, t.product_id)[:{recent}] FROM transactions t
            WHERE t.household_id = e.household_id AND t.ts < epoch(e.start_date::TIMESTAMP)), []) AS recent_times
    FROM exposures e WHERE e.start_date >= '{start}' ORDER BY ts, e.campaign_id, e.household_id
) TO '{target}' (FORMAT parquet)
"""


def write(source: Path, target: Path) -> int:
    """Writes the impressions and returns their number."""
    database = duckdb.connect()
    for name, file in (("exposures", "derived_exposures"), ("transactions", "transactions_sample")):
        database.execute(f"CREATE VIEW {name} AS SELECT * FROM '{source / file}.parquet'")
    target.parent.mkdir(parents=True, exist_ok=True)
    found = database.execute(IMPRESSIONS.format(start=FROM, recent=RECENT, target=target)).fetchall()
    return int(found[0][0])


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--source", type=Path, default=Path("../shared/data/complete_journey"))
    arguments.add_argument("--target", type=Path, default=Path("data/complete_journey/impressions.parquet"))
    options = arguments.parse_args()
    print(f"{write(options.source, options.target):,} impressions -> {options.target}")


if __name__ == "__main__":
    main()

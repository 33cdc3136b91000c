"""configs/globo.json on the real three million clicks: neighbours in the anchor space are read by the same people."""

from pathlib import Path

import duckdb
import numpy as np
import pytest

from artifacts.embeddings import Embeddings
from artifacts.neighbors import neighbors
from pipeline.cli import main

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_neighbours_share_their_readers(shared_data: Path, tmp_path: Path) -> None:
    options = ["--root", str(REPOSITORY), "--workspace", str(tmp_path), "--quiet"]
    for stage in ("partition", "train", "export"):
        assert main([stage, str(REPOSITORY / "configs/globo.json"), *options]) == 0
    embeddings = Embeddings(tmp_path / "latest/export/embeddings.h5")
    ours, chance = co_reading_lift(shared_data / "globo_clicks/clicks.parquet", embeddings)
    print(f"median lift of co-reading: neighbours {np.median(ours):.2f}, random articles {np.median(chance):.2f}")
    assert np.median(ours) > 3 * max(1.0, float(np.median(chance)))


def co_reading_lift(clicks: Path, embeddings: Embeddings) -> tuple[np.ndarray, np.ndarray]:
    """How many more readers two articles share than if people chose alone: of 40 articles' five neighbours, and of
    as many random pairs. Articles with at least 100 readers."""
    database = duckdb.connect()
    database.execute(f"CREATE TABLE k AS SELECT DISTINCT user_id u, article_id a FROM '{clicks}'")
    readers = dict(database.execute("SELECT a, count(*) FROM k GROUP BY a").fetchall())
    users = database.execute("SELECT count(DISTINCT u) FROM k").fetchall()[0][0]
    popular = "SELECT a FROM k GROUP BY a HAVING count(*) >= 100 ORDER BY a"
    known = [row[0] for row in database.execute(popular).fetchall()]
    generator = np.random.default_rng(0)
    ours, chance = [], []
    for article in generator.choice(known, 40, replace=False).tolist():
        of_the_same = f"SELECT a, count(*) FROM k WHERE u IN (SELECT u FROM k WHERE a = {article}) GROUP BY a"
        shared = dict(database.execute(of_the_same).fetchall())

        def lift(other: int, shared: dict[int, int] = shared, article: int = article) -> float:
            return shared.get(other, 0) * users / (readers[article] * readers[other])

        ours += [lift(int(n.id)) for n in neighbors(embeddings, "article", str(article), 5, "article")]
        chance += [lift(other) for other in generator.choice(known, 5).tolist()]
    return np.array(ours), np.array(chance)

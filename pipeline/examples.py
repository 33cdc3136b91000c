"""What the help of each command ends with: commands as one types them."""

EXAMPLES = {
    "init": ("init logs", "init logs shop.csv --out configs/shop.json"),
    "plan": ("plan configs/demo.json --edges 1e10 --entities 1e9",),
    "partition": ("partition configs/demo.json", "partition configs/demo.json --dry-run"),
    "train": ("train configs/demo.json", "train configs/demo.json --set model.epochs=3"),
    "evaluate": ("evaluate configs/demo.json",),
    "export": ("export configs/demo.json",),
    "rank": ("rank configs/demo_rank.json", "rank configs/demo_rank.json --arms none,attention"),
    "fit": ("fit configs/demo_rank.json",),
    "run": ("run configs/demo.json", "run configs/demo.json --quiet", "run configs/demo.json --until export"),
    "tune": ("tune configs/demo.json --minutes 30",),
    "features": ("features configs/demo_rank.json features.parquet",),
    "purge": ("purge configs/demo.json --dry-run", "purge configs/demo.json"),
    "clean": ("clean configs/demo.json", "clean configs/demo.json --yes"),
    "promote": ("promote configs/demo.json 20261129T031500.000Z-1a2b3c4d",),
    "rollback": ("rollback configs/demo.json",),
    "status": ("status configs/demo.json", "status configs/demo.json --json"),
    "report": ("report configs/demo.json",),
    "score": ("score configs/demo_rank.json new.parquet scored.parquet",),
    "infer": ("infer configs/demo.json new.parquet out.parquet --source engagements",),
    "neighbors": (
        "neighbors configs/demo.json pin p10",
        "neighbors configs/demo.json user u1 u2 --to pin --k 20",
        "neighbors configs/demo.json user --vector=0.1,-0.2,0.3 --to pin",
    ),
    "explain": ("explain configs/demo.json u1 p10", "explain configs/demo.json u1 i4 --relation checkout"),
    "serve": ("serve configs/demo.json", "serve configs/demo.json --port 0"),
    "simulate": ("simulate configs/demo_rank.json --requests 5000",),
    "card": ("card configs/demo.json -o card.md",),
    "mlflow": ("mlflow configs/demo.json file:mlruns",),
    "config": ("config check configs/mine.json", "config show configs/demo.json", "config schema"),
    "demo-data": ("demo-data data/demo", "demo-data data/small --users 2000 --impressions 20000"),
}


def epilog(command: str) -> str | None:
    """The examples of a command, as its help shows them; None where it has none yet."""
    examples = EXAMPLES.get(command, ())
    return "\n".join(["examples:", *(f"  transra {example}" for example in examples)]) if examples else None

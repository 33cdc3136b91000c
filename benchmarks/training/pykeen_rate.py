"""PyKEEN's TransR in its own environment: prints edges/s of one epoch over a TSV of triples.

    benchmarks/out/pykeen/bin/python benchmarks/training/pykeen_rate.py TSV D

bench_train runs it.
"""

import json
import sys
import time
from importlib.metadata import version

import torch
from pykeen.losses import SoftplusLoss
from pykeen.models import TransR
from pykeen.training import SLCWATrainingLoop
from pykeen.triples import TriplesFactory


def main() -> None:
    triples, dimension = TriplesFactory.from_path(sys.argv[1]), int(sys.argv[2])
    model = TransR(
        triples_factory=triples, embedding_dim=dimension, relation_dim=dimension, loss=SoftplusLoss(), random_seed=0
    )
    loop = SLCWATrainingLoop(
        model=model,
        triples_factory=triples,
        optimizer=torch.optim.Adagrad(model.get_grad_params(), lr=0.1),
        negative_sampler_kwargs={"num_negs_per_pos": 100},
    )
    start = time.perf_counter()
    loop.train(triples_factory=triples, num_epochs=1, batch_size=250, use_tqdm=False)
    rate = triples.num_triples / (time.perf_counter() - start)
    print(json.dumps({"edges_per_second": rate, "pykeen": version("pykeen"), "triples": triples.num_triples}))


if __name__ == "__main__":
    main()

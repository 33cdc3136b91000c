"""DCN-v2 and DIN of FuxiCTR on the rows of rows.py. Runs in an environment of its own, without ours.

    python benchmarks/ranking/comparison/fuxictr_models.py ROWS/ctr dcnv2 --pretrained --out O.json --predictions P.npy

FuxiCTR's package brings its layers, its training loop and its loader; of the models it brings forms for one list
alone. They are put together here out of its layers as its model zoo does for several lists (reczoo/FuxiCTR,
model_zoo/DCNv2 and model_zoo/DIN): DCN-v2 has lists as their means, DIN attends to each with one slot of the ad.
`--pretrained`: the frozen vectors of an export stand for the embeddings of the ids that it has a type for.
"""

import argparse
import json
import resource
import tempfile
import time
from itertools import chain, islice, repeat
from pathlib import Path

import numpy as np
import torch
from fuxictr.features import FeatureMap
from fuxictr.pytorch.dataloaders.npz_dataloader import NpzDataLoader
from fuxictr.pytorch.layers import CrossNetMix, DIN_Attention, FeatureEmbeddingDict, MLP_Block
from fuxictr.pytorch.models import BaseModel
from fuxictr.pytorch.torch_utils import seed_everything
from fuxictr.version import __version__
from torch import nn

POOLED = "layers.MaskedAveragePooling()"
PATIENCE = 3  # of ours: validations without a better one
WARM_UP, SPEED_STEPS = 3, 20
TEST_BATCH = 2048


class Model(BaseModel):
    """What both share: embeddings by column, training by Adam, validation by AUC."""

    def __init__(self, feature_map, settings, directory):
        super().__init__(
            feature_map,
            model_id="model",
            gpu=-1,
            monitor="AUC",
            metrics=["AUC", "logloss"],
            early_stop_patience=PATIENCE,
            eval_steps=settings["eval_steps"],
            model_root=str(directory),
            verbose=0,
        )
        Path(self.model_dir).mkdir(parents=True, exist_ok=True)
        self.embedding_layer = FeatureEmbeddingDict(feature_map, settings["dimension"])
        self.build(feature_map, settings)
        self.compile("adam", "binary_crossentropy", settings["lr"])
        self.reset_parameters()
        self.model_to_device()


class DCNv2(Model):
    """Cross layers of one expert and low rank, then a perceptron: the network behind our arms."""

    def build(self, feature_map, settings):
        width = feature_map.sum_emb_out_dim()
        self.cross = CrossNetMix(width, settings["cross_layers"], low_rank=settings["cross_rank"], num_experts=1)
        self.dnn = MLP_Block(width, settings["hidden"], output_dim=1, dropout_rates=settings["dropout"])

    def forward(self, inputs):
        columns = self.get_inputs(inputs)
        features = self.embedding_layer.dict2tensor(self.embedding_layer(columns), flatten_emb=True)
        crossed = self.cross(features).view(features.shape)
        return {"y_pred": self.output_activation(self.dnn(crossed))}


class DIN(Model):
    """Each list is attended to by one id of the ad; then a perceptron."""

    def build(self, feature_map, settings):
        self.targets = settings["targets"]
        self.attentions = nn.ModuleList(
            DIN_Attention(settings["dimension"], attention_units=[64], hidden_activations="Dice") for _ in self.targets
        )
        self.dnn = MLP_Block(
            feature_map.sum_emb_out_dim(), settings["hidden"], output_dim=1, dropout_rates=settings["dropout"]
        )

    def forward(self, inputs):
        columns = self.get_inputs(inputs)
        embedded = self.embedding_layer(columns)
        for (listed, target), attention in zip(self.targets.items(), self.attentions, strict=True):
            embedded[listed] = attention(embedded[target], embedded[listed], columns[listed].long() != 0)
        features = self.embedding_layer.dict2tensor(embedded, flatten_emb=True)
        return {"y_pred": self.output_activation(self.dnn(features))}


MODELS = {"dcnv2": DCNv2, "din": DIN}


def feature_map(rows, features, pretrained, pooled, dimension, scratch):
    """FuxiCTR's own, by its file; without an export's vectors all ids that training does not have are one."""
    specs = {name: {k: v for k, v in spec.items() if k not in ("graph", "side")} for name, spec in features.items()}
    for name, spec in specs.items():
        if spec["type"] == "sequence" and pooled:
            spec["feature_encoder"] = POOLED
        if "oov_idx" in spec and pretrained and features[name]["graph"]:
            vectors = np.load(rows / f"{name}.npz")["value"]
            spec |= {"pretrained_emb": f"{name}.npz", "pretrain_dim": vectors.shape[1], "freeze_emb": True}
            spec |= {"pretrain_usage": "init"}
        elif "oov_idx" in spec:
            spec["vocab_size"] = spec["oov_idx"] + 1
    found = {"dataset_id": "rows", "num_fields": len(specs), "labels": ["label"]}
    found["features"] = [{name: spec} for name, spec in specs.items()]
    path = scratch / "feature_map.json"
    path.write_text(json.dumps(found))
    made = FeatureMap("rows", str(rows))
    made.load(str(path), {"embedding_dim": dimension})
    return made


def loader(made, rows, name, batch, shuffle=False):
    found = NpzDataLoader(made, str(rows / f"{name}.npz"), batch_size=batch, shuffle=shuffle, num_workers=0)
    for column, spec in made.features.items():
        if "oov_idx" in spec and spec["vocab_size"] == spec["oov_idx"] + 1:
            part = found.dataset.darray[:, made.get_column_index(column)]
            found.dataset.darray[:, made.get_column_index(column)] = np.minimum(part, spec["oov_idx"])
    return found


def targets(features):
    """The ad's id that attends to each list: one of the list's own embedding, or else the first."""
    ads = [name for name, spec in features.items() if spec.get("side") == "ad" and spec["type"] == "categorical"]

    def table(name):
        return features[name].get("share_embedding", name)

    lists = [name for name, spec in features.items() if spec["type"] == "sequence"]
    found = {one: next((ad for ad in ads if table(ad) == table(one)), ads[0] if ads else None) for one in lists}
    return {listed: ad for listed, ad in found.items() if ad is not None}


def speed(model, batches):
    """Training examples a second: of the clock and of processor time, the loader's own work included."""
    model.train()
    model._max_gradient_norm, model._batch_index = 10.0, 0
    stamps, examples = [], 0
    for index, batch in enumerate(islice(chain.from_iterable(repeat(batches)), WARM_UP + SPEED_STEPS)):
        model.train_step(batch)
        examples += len(batch["label"]) if index >= WARM_UP else 0
        stamps.append((time.perf_counter(), time.process_time()))
    clock, processor = (stamps[-1][k] - stamps[WARM_UP - 1][k] for k in (0, 1))
    return {
        "batch": batches.batch_size,
        "examples_per_second": examples / clock,
        "examples_per_processor_second": examples / processor,
    }


def corrected(p, share):
    """Probabilities on all rows, from those of a model that saw a share of the negatives."""
    return share * p / (1 - (1 - share) * p)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("rows", type=Path)
    arguments.add_argument("model", choices=MODELS)
    arguments.add_argument("--pretrained", action="store_true")
    arguments.add_argument("--settings", type=json.loads, help="a JSON object: batch, epochs, network, seed")
    arguments.add_argument("--out", type=Path, required=True)
    arguments.add_argument("--predictions", type=Path, required=True)
    options = arguments.parse_args()
    torch.set_num_threads(1)
    spec = json.loads((options.rows / "features.json").read_text())
    attended = targets(spec["features"]) if options.model == "din" else {}
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        dimension = options.settings["dimension"]
        made = feature_map(options.rows, spec["features"], options.pretrained, not attended, dimension, scratch)
        train = loader(made, options.rows, "train", options.settings["batch"], shuffle=True)
        steps = -(-len(train) // options.settings["evaluations"])
        settings = options.settings | {"targets": attended, "eval_steps": options.settings["eval_every"] or steps}

        def build():
            seed_everything(settings["seed"])
            return MODELS[options.model](made, settings, scratch)

        started = time.perf_counter()
        model = build()
        model.fit(train, epochs=settings["epochs"], validation_data=loader(made, options.rows, "valid", TEST_BATCH))
        fitted = time.perf_counter() - started
        p = model.predict(loader(made, options.rows, "test", TEST_BATCH))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        before = time.perf_counter(), time.process_time()
        batch = min(settings["speed_batch"], train.num_samples)
        measured = speed(build(), loader(made, options.rows, "train", batch, shuffle=True))
        clock, processor = time.perf_counter() - before[0], time.process_time() - before[1]
    np.save(options.predictions, corrected(p, spec["keep_negatives"]))
    found = {"speed": measured, "fit_seconds": fitted, "peak_bytes": peak}
    found |= {"speed_seconds": clock, "speed_processor_seconds": processor}
    found |= {"parameters": sum(q.numel() for q in model.parameters()), "steps": model._total_steps}
    found |= {"versions": {"fuxictr": __version__, "torch": torch.__version__}}
    options.out.write_text(json.dumps(found))


if __name__ == "__main__":
    main()

"""The config sections `model`, `export` and `evaluate`."""

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from artifacts.section import Problem, Section

Operator = Literal[
    "transra",
    "transra_untied",
    "transr",
    "transe",
    "none",
    "diagonal",
    "translation",
    "linear",
    "affine",
    "complex_diagonal",
]
MOST_WEIGHT = 1e6  # of a relation
K = Annotated[int, Field(gt=0, le=1 << 31)]
Similarity = Literal["l2", "squared_l2", "cos", "dot"]
Decay = Literal["constant", "linear", "cosine"]
VALIDATION_METRICS = {"mrr": "mrr", "retrieval": "recall@20"}  # by `validate_by`: what it is called
ANCHORED: tuple[Operator, ...] = ("transra", "transra_untied")
TWO_SIDED: tuple[Operator, ...] = (*ANCHORED, "transr", "transe")


class FreezeConfig(Section):
    """What stays as it is on a warm start."""

    types: tuple[str, ...] = Field(
        (), description="entity types whose known entities keep their vectors; new ones are trained"
    )
    relations: tuple[str, ...] = Field((), description="relations that keep their projection and translation")

    def problems(self) -> Iterator[Problem]:
        if not self.types and not self.relations:
            yield Problem((), "names neither types nor relations; expected some, or null")


class MachinesConfig(Section):
    """Several machines that train one model. They see the same workspace, on a file system that they share."""

    ranks: int = Field(ge=2, le=1024, description="how many there are: `transra train CONFIG --rank R` on each, from 0")
    address: str | None = Field(
        None,
        min_length=1,
        description="of rank 0, where it listens for the others; null: MASTER_ADDR of the environment",
    )
    port: int = Field(0, ge=0, le=65535, description="of that address; 0: any that is free, which the others are told")
    timeout: float = Field(
        300, gt=0, le=1e7, description="seconds that a rank is waited for which has not come, or is not heard of"
    )


class ModelConfig(Section):
    """What is trained, and how."""

    without_effect = frozenset({"workers", "device", "overlap", "checkpoint_seconds", "tensorboard", "machines"})
    # What an interrupted training may go on with; anything else would be another model.
    changes_on_resume: ClassVar[frozenset[str]] = frozenset(
        {"epochs", "lr", "relation_lr", "schedule", "pull", "relation_weights", "patience"}
        | {"regularization", "head_weight"}
        | {"batch_size", "batch_negatives", "uniform_negatives", "processor"}
    )

    operator: Operator = Field(
        "transra",
        description="transra: anchors keep the identity, every other relation has one projection for both sides; "
        "transra_untied: one projection per side; transr: no anchors; transe: translations only; "
        "the others are PyTorch-BigGraph's own and act on the right side only",
    )
    anchors: tuple[str, ...] = Field(
        (), description="relations whose projection is the identity: the entity table is their space"
    )
    dimension: int = Field(64, gt=0, le=1 << 16, description="length of an entity's vector")
    similarity: Similarity = Field(
        "cos",
        description="how two projected vectors are compared; where it is not written, and no type is head and tail of "
        "anchors: dot, with defaults of scale 1, regularization 0.15, tail_bias true and anchor_translation false",
    )
    scale: float = Field(
        8.0,
        gt=0,
        le=1e6,
        description="factor on the similarity before the loss; cos, in [-1, 1], hardly trains without",
    )
    loss: Literal["softmax", "logistic", "ranking"] = Field("softmax", description="positive against its negatives")
    margin: float = Field(0.1, ge=0, le=1e6, description="only for loss 'ranking': how far a positive must be ahead")
    pull: float = Field(
        0.1,
        ge=0,
        le=1e6,
        description="weight of ||M_r - I||^2 per edge: holds projections near the identity, the more so the fewer "
        "edges a relation has to learn them from; 0: free, much more than 1: nearly 'transe'",
    )
    regularization: float = Field(
        0.0,
        ge=0,
        le=1e6,
        description="weight of |h|^2 + |t|^2, the squared lengths of an edge's vectors, beside each edge's loss, times "
        "sqrt(typical degree / degree) of each: keeps what few edges teach small; for similarity 'dot', 0.1 to 0.2",
    )
    head_weight: float = Field(
        1.0,
        ge=0,
        le=1e6,
        description="factor on the loss of finding the head of an edge; 0: only the tail is to be found, which is what "
        "retrieval from head to tail asks",
    )
    anchor_translation: bool = Field(
        True,
        description="whether anchors learn a translation; off: the score that is trained is the similarity of the "
        "exported vectors",
    )
    tail_bias: bool = Field(
        False,
        description="whether the first component of an anchor's tail is a bias, against a constant of its heads: what "
        "is popular is ranked up by the plain inner product; for similarity 'dot'",
    )
    relation_weights: dict[str, float] = Field(
        {}, description="factor on the loss of a relation's edges; 1 where not listed"
    )
    start_from: str | None = Field(
        None,
        min_length=1,
        description="directory of a checkpoint that stock PyTorch-BigGraph wrote for this graph, relative to the root: "
        "training begins with its vectors, operators and Adagrad sums",
    )
    warm_start: Literal["latest"] | None = Field(
        None,
        description="latest: training begins with the vectors, operators and a tenth of the Adagrad sums of the "
        "published run, found by id, and new entities where their edges put them; the first night begins cold. "
        "null: always cold",
    )
    max_drift: float | None = Field(
        None,
        gt=0,
        le=1e6,
        description="with warm_start: how far a known entity's vector may move in one training, as a share of its "
        "length; those that are farther are put back to the bound after each pass. null: no bound",
    )
    freeze: FreezeConfig | None = Field(
        None,
        description="with warm_start: entity types and relations of the published run that keep their bits in this "
        "training; null: none",
    )
    epochs: int = Field(10, gt=0, le=100_000, description="passes over all training edges")
    lr: float = Field(0.1, gt=0, le=1e3, description="learning rate of entity vectors (row-wise Adagrad)")
    relation_lr: float = Field(
        0.01, gt=0, le=1e3, description="learning rate of projections and translations (Adagrad)"
    )
    schedule: Decay = Field(
        "constant",
        description="how both learning rates fall to 0 by the end of the last epoch, bucket by bucket; constant: not",
    )
    init_scale: float = Field(
        0.1, gt=0, le=1e3, description="standard deviation of the components of a new entity vector"
    )
    batch_size: int = Field(1000, gt=0, le=1 << 24, description="edges per step; full batches hold one relation")
    batch_negatives: int = Field(
        0,
        ge=0,
        le=1 << 16,
        description="negatives per positive and side taken from the same batch: faster than uniform ones, but as "
        "popular as the positives, so that what is popular is pushed down",
    )
    uniform_negatives: int = Field(100, ge=0, le=1 << 16, description="negatives per positive and side drawn uniformly")
    edge_chunks: int = Field(
        1,
        gt=0,
        le=1000,
        description="parts that each epoch is cut into, each through all buckets and into a checkpoint: with several "
        "partitions, more parts mix the buckets better, and swap more",
    )
    processor: Literal["fused", "reference"] = Field(
        "fused",
        description="fused: closed-form gradients; reference: PyTorch's autograd, the same mathematics. "
        "PyTorch-BigGraph's own operators always run on the reference",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "cpu",
        description="cpu: `workers` processes; cuda: a GPU, refused where there is none or where it is too small for "
        "the resident partitions; auto: cuda where there is one that is large enough, else cpu. The same model but for "
        "draws and rounding, as with other workers. PyTorch-BigGraph's own operators and the reference have no GPU",
    )
    overlap: bool = Field(
        True, description="load the next partitions and save the last ones while a bucket trains; off: half the memory"
    )
    checkpoint_seconds: float = Field(
        180, ge=1e-9, le=1e9, description="how much work a kill may cost; a snapshot is taken when so much has passed"
    )
    validate_every: int | None = Field(
        None,
        gt=0,
        le=100_000,
        description="epochs between two validations; the last epoch has one, too, and the checkpoint of the best "
        "becomes the model. null: no validation, the last checkpoint is the model",
    )
    validate_by: Literal["mrr", "retrieval"] = Field(
        "mrr",
        description="what the best checkpoint is best at. mrr: link prediction, all relations, both sides; retrieval: "
        "recall@20 of the anchors' tails (without anchors: of all relations') by plain similarity of vectors",
    )
    validation_edges: int = Field(
        5000,
        gt=0,
        le=1 << 31,
        description="edges of the valid split, drawn with `seed`, that each validation ranks; by 'retrieval' all edges "
        "of a head are drawn or none",
    )
    patience: int | None = Field(
        None,
        gt=0,
        le=100_000,
        description="validations without a better one after which training stops; null: it never does",
    )
    tensorboard: bool = Field(
        False, description="write scalars for TensorBoard into <run>/tensorboard (needs `pip install '.[tensorboard]'`)"
    )
    machines: MachinesConfig | None = Field(
        None,
        description="several machines that train together; a model of the same quality, but for draws and rounding, as "
        "with other workers. null: one machine, unless RANK, WORLD_SIZE and MASTER_ADDR are set, as torchrun does",
    )
    workers: int | None = Field(None, gt=0, le=1024, description="training processes (HOGWILD); default: one per core")
    seed: int = Field(0, ge=0, le=(1 << 63) - 1, description="with one worker, the same seed gives the same vectors")

    @property
    def fused(self) -> bool:
        """Whether the fused processor trains: it knows the two-sided operators, PBG's own run on the reference."""
        return self.processor == "fused" and self.operator in TWO_SIDED

    @property
    def passes(self) -> int:
        """Parts of epochs to train, each of which ends in a checkpoint."""
        return self.epochs * self.edge_chunks

    def problems(self) -> Iterator[Problem]:
        if self.anchors and self.operator not in ANCHORED:
            yield Problem(("anchors",), f"operator '{self.operator}' has no anchors; expected {' or '.join(ANCHORED)}")
        if not self.anchors and self.operator in ANCHORED:
            yield Problem(
                ("anchors",),
                f"operator '{self.operator}' needs the relation closest to the ranking task; without one, use 'transr'",
            )
        if not self.anchor_translation and self.operator not in ANCHORED:
            yield Problem(
                ("anchor_translation",),
                f"operator '{self.operator}' has no anchors; expected {' or '.join(ANCHORED)}",
            )
        if self.tail_bias and (self.similarity != "dot" or not self.anchors or self.start_from):
            yield Problem(("tail_bias",), "expected similarity 'dot', anchors, and no start_from beside it")
        if self.warm_start and self.start_from:
            yield Problem(("warm_start",), "expected either warm_start or start_from")
        if self.max_drift is not None and not self.warm_start:
            yield Problem(("max_drift",), "it bounds how far vectors move from a published run; expected warm_start")
        if self.freeze is not None:
            if not self.warm_start:
                yield Problem(("freeze",), "it holds what a published run has; expected warm_start")
            yield from (Problem(("freeze", *problem.path), problem.message) for problem in self.freeze.problems())
        if len(set(self.anchors)) < len(self.anchors):
            yield Problem(("anchors",), "a relation is named twice")
        for name, weight in self.relation_weights.items():
            if not 0 < weight <= MOST_WEIGHT:
                expected = f"expected a number above 0, at most {MOST_WEIGHT:g}"
                yield Problem(("relation_weights", name), f"{weight:g}: {expected}")
        if self.patience is not None and self.validate_every is None:
            yield Problem(("patience",), "it counts validations; expected validate_every beside it")
        if self.validate_by != "mrr" and self.validate_every is None:
            yield Problem(("validate_by",), "it is what validations measure; expected validate_every beside it")
        if self.batch_negatives + self.uniform_negatives == 0:
            yield Problem(("uniform_negatives",), "no negatives at all; expected batch_negatives or uniform_negatives")
        if self.batch_negatives and self.batch_size % self.batch_negatives:
            yield Problem(
                ("batch_size",), f"{self.batch_size}: expected a multiple of batch_negatives ({self.batch_negatives})"
            )
        if self.device == "cuda" and not self.fused:
            expected = f"expected processor 'fused' and operator {', '.join(TWO_SIDED)}"
            yield Problem(("device",), f"a GPU trains closed-form gradients alone: {expected}")
        if self.operator == "complex_diagonal" and self.dimension % 2:
            yield Problem(("dimension",), f"{self.dimension}: operator 'complex_diagonal' needs an even one")


class ExportConfig(Section):
    """How vectors leave."""

    formats: tuple[Literal["hdf5", "parquet", "tsv", "faiss"], ...] = Field(
        ("hdf5",),
        description="what `export` writes; faiss: an index of each type beside them, by which `neighbors` answers",
    )
    degrees: bool = Field(True, description="Also count each entity's training edges, by relation and side.")
    dtype: Literal["float32", "float16"] = Field("float32", description="type of the exported vectors' components")

    def problems(self) -> Iterator[Problem]:
        if "hdf5" not in self.formats:
            yield Problem(("formats",), "'hdf5' is missing; the ranker and `neighbors` read it")


class EvaluateConfig(Section):
    """How a model is judged: every test triple, or `max_edges` of them, among all entities of the right type."""

    split: Literal["test", "valid"] = Field("test", description="edges to rank; choose on valid, read test once")
    max_edges: int | None = Field(
        100_000,
        gt=0,
        le=1 << 40,
        description="rank at most so many edges of the split, drawn with `seed`; null: all of them",
    )
    candidates: int | None = Field(
        None,
        gt=0,
        le=1 << 31,
        description="beside all entities of the type, rank among so many, drawn with `seed`, for comparison with "
        "results that were measured so: `sampled` in metrics.json says how much that flatters; null: not",
    )
    ks: tuple[K, ...] = Field((1, 3, 10), description="the k of hits@k and recall@k")
    retrieval_k: K = Field(20, description="the k of recall@k and NDCG@k per query in anchor_retrieval")
    seed: int = Field(0, ge=0, le=(1 << 63) - 1, description="of what is drawn")

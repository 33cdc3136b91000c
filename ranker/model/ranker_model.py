"""One arm: what it sees, put together in front of the backbone."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from artifacts.embeddings import Embeddings
from ranker.config.arms import ArmConfig
from ranker.config.sections import RankerConfig
from ranker.data.batch import Batch
from ranker.data.ids.slots import Layout
from ranker.data.records import Summary
from ranker.model.attention.kge_attention import KgeAttention
from ranker.model.branches import Branch, Logits, Mixture
from ranker.model.list_facts import ListFacts
from ranker.model.tables.degrees import Degrees
from ranker.model.tables.id_embedding import IdEmbedding
from ranker.model.tables.kge_table import KgeTable
from ranker.model.tables.table import Table
from ranker.model.tabular import Tabular


class Hiding:
    """In training hides the entities of a share of the slots, ID embeddings and graph vectors alike, as those of an
    entity that is new will be missing: what follows also learns to do without (DropoutNet, NIPS 2017)."""

    def __init__(self, layout: Layout, share: float) -> None:
        self.slots, self.share = len(layout.slots), share
        self.slot_of = torch.repeat_interleave(torch.tensor([slot.width for slot in layout.slots]))

    def __call__(self, batch: Batch) -> Tensor | None:
        """Which slots of each row are hidden, (B, S) bool; None where none ever is."""
        return torch.rand(len(batch), self.slots, device=batch.rows.device) < self.share if self.share else None

    def without(self, batch: Batch, hidden: Tensor) -> Batch:
        """The same rows without the vectors of what is `hidden` (B, S)."""
        of_tokens = hidden[:, self.slot_of.to(hidden.device)]
        return replace(batch, rows=batch.rows.masked_fill(of_tokens, -1))


class KgeConcat(nn.Module):
    """Graph vectors side by side, a list as their mean: -> (B, `width`)."""

    def __init__(self, layout: Layout, table: KgeTable) -> None:
        super().__init__()
        self.table, self.slots = table, layout.graph()
        self.width = table.dimension * len(self.slots)

    def forward(self, batch: Batch) -> Tensor:
        means = [self.table.means(str(slot.type), batch.rows[:, slot.tokens]) for slot in self.slots]
        return torch.cat(means, dim=1)


class RankerModel(nn.Module):
    """A batch -> {task: (B,) logits}. `cvr` is the logit of a conversion given a click.

    An arm that sees more than `none` has a second branch that sees neither vectors nor ids, and answers by a mixture of
    both: what `none` sees and, where the arm has vectors, how often the graph has seen the entities.
    In use, `intercept` () is added to the logit of `calibrated`, the task that every impression is trained on: 0 until
    ranker.training.calibration sets it.
    """

    intercept: Tensor

    def __init__(self, config: RankerConfig, arm: ArmConfig, summary: Summary, export: Embeddings | None) -> None:
        super().__init__()
        layout = Layout.of(config)
        self.predicted_rows = layout.predicted_rows
        self.hiding = Hiding(layout, config.ids.dropout)
        self.tabular = Tabular(summary.vocabularies, summary.missing)
        self.ids = IdEmbedding(config.ids, layout) if arm.ids else None
        self.attention: KgeAttention | None = None
        self.concat: KgeConcat | None = None
        self.degrees: Degrees | None = None
        self.lists = ListFacts(layout)
        context = self.tabular.width + self.lists.width
        width = config.ids.dim * len(layout.slots) if arm.ids else 0
        if arm.vectors != "none":
            assert export is not None
            types = sorted({str(slot.type) for slot in layout.graph()})
            table = KgeTable(export, types, arm.finetune)
            self.degrees = Degrees(layout, export)
            context += self.degrees.width
            if arm.vectors == "attention":
                id_dim = config.ids.dim if arm.ids else 0
                self.attention = KgeAttention(config.attention, layout, export, table, context, id_dim)
                width += self.attention.width
            else:
                self.concat = KgeConcat(layout, table)
                width += self.concat.width
        matches, rates = self.attention.matches if self.attention else 0, base_rates(config, summary)
        self.whole = Branch(context + width, matches, rates, config)
        self.tabular_alone = Branch(context, 0, rates, config) if width else None
        self.mixture = Mixture(tuple(rates)) if width else None
        self.calibrated = next(iter(rates))
        self.register_buffer("intercept", torch.zeros(()))

    def forward(self, batch: Batch) -> Logits:
        return self.with_attention(batch)[0]

    def with_attention(self, batch: Batch) -> tuple[Logits, dict[str, Tensor]]:
        """The logits, and attention weights: by list slot (B, H, 1 + L), the first for the learned vector of an empty
        list, and 'context' (B, H, N); {} where the arm does not attend."""
        answers, weights = self._answers(batch)
        logits = answers[-1]
        if not self.training:
            logits = logits | {self.calibrated: logits[self.calibrated] + self.intercept}
        return logits, weights

    def trained(self, batch: Batch, new: bool = True) -> list[Logits]:
        """All logits that have a loss: those of each branch and, of rows that are `new` to both, of their mixture."""
        answers = self._answers(batch)[0]
        return answers if new or self.mixture is None else answers[:-1]

    def _answers(self, batch: Batch) -> tuple[list[Logits], dict[str, Tensor]]:
        """The logits of each branch, and the model's own last; attention weights."""
        hidden = self.hiding(batch) if self.training else None
        batch = batch if hidden is None else self.hiding.without(batch, hidden)
        context = self.context(batch)
        ids = None if self.ids is None else self.ids(batch.hashes)
        if ids is not None and hidden is not None:
            ids = ids * ~hidden.unsqueeze(-1)
        parts = [context] + ([] if ids is None else [ids.flatten(1)])
        if self.concat is not None:
            parts.append(self.concat(batch))
        matches, weights = None, {}
        if self.attention is not None:
            features, matches, weights = self.attention(batch, context, ids)
            parts += features
        answers: list[Logits] = [self.whole(torch.cat(parts, dim=1), matches)]
        if self.tabular_alone is not None and self.mixture is not None:
            answers.append(self.tabular_alone(context))
            answers.append(self.mixture(*answers))
        return answers, weights

    def context(self, batch: Batch) -> Tensor:
        """Tabular columns and, where the arm reads an export, how often the graph has seen the entities: (B, C)."""
        parts = [self.tabular(batch), self.lists(batch)] + ([] if self.degrees is None else [self.degrees(batch)])
        return torch.cat(parts, dim=1)

    @torch.no_grad()
    def attention_weights(self, batch: Batch) -> dict[str, Tensor]:
        """The weights alone, with nothing hidden."""
        assert self.attention is not None, "only an arm with `vectors: attention` has weights"
        ids = None if self.ids is None else self.ids(batch.hashes)
        weights: dict[str, Tensor] = self.attention(batch, self.context(batch), ids)[2]
        return weights

    def tables(self) -> dict[str, list[Table]]:
        """What has sparse gradients: 'ids' and 'kge'."""
        part = self.attention or self.concat
        return {
            "ids": [] if self.ids is None else [self.ids.held],
            "kge": [] if part is None else list(part.table.tuned.values()),
        }

    def budget(self) -> dict[str, int]:
        """Numbers that are trained: in the ID table, in graph vectors, and in the network."""
        tables = self.tables()
        sparse = {id(table.parameter) for found in tables.values() for table in found}
        numbers = {key: sum(table.rows * table.parameter.shape[1] for table in found) for key, found in tables.items()}
        return {"network": sum(p.numel() for p in self.parameters() if id(p) not in sparse), **numbers}


def base_rates(config: RankerConfig, summary: Summary) -> dict[str, float]:
    """Clicks per impression and conversions per click (per impression, where clicks are not known) in train."""
    counts = summary.counts["train"]
    rates = {"ctr": counts["clicks"] / counts["rows"], "cvr": counts["conversions"] / max(counts["known"], 1)}
    return {task: min(max(rates[task], 1e-6), 1 - 1e-6) for task in config.labels.tasks}

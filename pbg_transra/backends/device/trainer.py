"""Trains segments on a device, one after the other."""

import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pbg_transra.backends.backend import Rates, Trained
from pbg_transra.backends.device.relations import DeviceRelations
from pbg_transra.backends.device.sorted_edges import Plan, Planned, SortedEdges, planned, require_rows
from pbg_transra.backends.device.step import NONE_BAD, Replayed, Step, StepMemory
from pbg_transra.backends.device.tables import DeviceTables, Spans
from pbg_transra.backends.divergence import bad_loss
from pbg_transra.backends.edges import Edges
from pbg_transra.backends.fused.batches import Batcher
from pbg_transra.backends.fused.objective import make_objective
from pbg_transra.backends.tail_bias import constant_types
from pbg_transra.config import ModelConfig
from pbg_transra.reports import Diverged
from pbg_transra.seeds import seed_of

LOOK = 64  # batches between two looks at the loss: each waits for the device
KEPT_STEPS = 8  # layouts and kinds: full batches of a few types, and some of what is left of relations


class Trainer:
    """`counters` (1, 4): see Backend. `stop` ends the segment that is being trained."""

    def __init__(
        self,
        relations: Sequence[Any],
        kinds: Tensor,
        tables: DeviceTables,
        parameters: DeviceRelations,
        config: ModelConfig,
        recorded: bool,
    ) -> None:
        """`relations`: their names, types and weights; `kinds` (R,): those of one kind may share a batch."""
        self.device = device = tables.vectors.device
        self._names, self._kinds = relations, kinds.tolist()
        self._batcher, self._objective = Batcher(kinds, config), make_objective(config)
        held = constant_types(relations, config)
        self._held = [(relation.lhs in held, relation.rhs in held) for relation in relations]
        whole = torch.zeros(2, len(relations), dtype=torch.long, device=device)
        weights = torch.tensor([relation.weight for relation in relations], dtype=tables.vectors.dtype, device=device)
        rates = torch.zeros(2, dtype=tables.vectors.dtype, device=device)
        loss, bad = torch.zeros((), dtype=torch.double, device=device), torch.tensor(NONE_BAD, device=device)
        spans = Spans(whole, whole.clone())
        self.memory = StepMemory(tables, parameters, SortedEdges(), spans, weights, rates, loss, bad)
        self._steps: OrderedDict[tuple[Any, ...], tuple[Step, Replayed]] = OrderedDict()
        self._pool = torch.cuda.graph_pool_handle() if recorded and device.type == "cuda" else None
        self._order, self._draws = torch.Generator(), torch.Generator(device)
        self.counters = torch.zeros(1, 4, dtype=torch.double)
        self._stopped = threading.Event()

    def stop(self) -> None:
        self._stopped.set()

    def train(self, edges: Edges, spans: Spans, rates: Rates, seed: int) -> Trained:
        """Trains edges, which are shuffled and lie on the device. Raises Diverged, at the next look, and IndexError."""
        own, plan = self.counters.numpy()[0], self.begin(edges, spans, rates, seed)
        own[2] = own[2] or time.time()
        seen, loss = 0, 0.0
        for number, batch in enumerate(plan.batches):
            if self._stopped.is_set():
                break
            self.step(batch, plan)
            seen += batch.edges
            if number % LOOK == LOOK - 1 or number == len(plan.batches) - 1:
                before, loss = loss, self._look(plan)
                own[0], own[1], own[3] = own[0] + seen, own[1] + loss - before, time.time()
                seen = 0
        return Trained(len(edges), loss)

    def begin(self, edges: Edges, spans: Spans, rates: Rates, seed: int) -> Plan:
        """Sorts edges and cuts them into batches; what is drawn from now on follows from the seed."""
        require_rows(edges, spans)
        memory = self.memory
        for ours, theirs in zip(memory.spans, spans, strict=True):
            ours.copy_(theirs)
        memory.rates.copy_(torch.tensor(rates))
        memory.loss.zero_()
        memory.bad.fill_(NONE_BAD)
        seed = seed_of(seed, 0)  # as the first worker of a CPUBackend
        self._order.manual_seed(seed)
        self._draws.manual_seed(seed)
        if memory.edges.take(edges, edges.relations.sort(stable=True).indices, spans):
            self._steps.clear()  # they read what lay elsewhere
        counts = edges.relations.bincount(minlength=len(self._names)).cpu().numpy()
        batches = self._batcher.plan(counts, self._order)
        return planned(batches, [self._batcher.layout(lengths) for _, lengths in batches], counts, self.device)

    def step(self, batch: Planned, plan: Plan) -> Step:
        """Trains a batch; does not wait for the device."""
        step, replayed = self._step_of(batch)
        step.groups.copy_(plan.groups[:, batch.groups])
        step.draws.random_(generator=self._draws)
        replayed()
        return step

    def _step_of(self, batch: Planned) -> tuple[Step, Replayed]:
        key = batch.layout, batch.single, self._kinds[batch.relation]
        if key not in self._steps:
            step = Step(self.memory, self._objective, batch, self._held[batch.relation])
            self._steps[key] = step, Replayed(step, self._pool)
            if len(self._steps) > KEPT_STEPS:
                self._steps.popitem(last=False)
        self._steps.move_to_end(key)
        return self._steps[key]

    def _look(self, plan: Plan) -> float:
        """The loss of the segment so far. Raises Diverged."""
        loss, bad = self.memory.loss.item(), int(self.memory.bad.item())
        if bad != NONE_BAD:
            name = self._names[int(plan.relations[bad])].name
            raise Diverged(f"{bad_loss(name, loss)} in batch {plan.batch_of(bad) + 1}")
        return loss

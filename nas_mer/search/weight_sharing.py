"""Random search with shared weights: a supernet trained on single genotypes, which then judges them."""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from nas_mer.nn import one_hot
from nas_mer.search.cost import Cost
from nas_mer.search.recipe import SearchRecipe
from nas_mer.search.supernets import Epoch, SearchReplica, Supernets, average_recall
from nas_mer.search.trials import Trial
from nas_mer.space import SearchSpace
from nas_mer.space.isomorphism import Distinct
from nas_mer.train.streams import stream_seed

Choices = dict[str, str]


class WeightSharing(Supernets):
    """Random search with weight sharing (Li & Talwalkar, Random Search and Reproducibility for NAS, 2019).

    Each weight step trains the weights of one genotype, drawn uniformly from the space. After the last epoch
    `candidates` distinct genotypes are drawn, or the whole space taken where it has no more, and each is judged on the
    alphas' half with the shared weights. There are no alphas.
    """

    @classmethod
    def cost(cls, space: SearchSpace, recipe: SearchRecipe, replica: SearchReplica) -> Cost:
        """Return what a search costs: all options are computed, those that are not chosen with weight 0."""
        (steps, batch, *_), look = replica.alike(recipe), replica.look(recipe)
        return Cost(steps * batch + look, min(recipe.candidates, space.size) * look)

    def run_epoch(self) -> dict[int, Epoch]:
        """Train for one epoch; its validation is of one genotype a batch."""
        rate = self.rate
        epoch, theirs = self._plan("weights"), self._plan("alphas").index
        trained, judged = (self._drawn(name, len(part)) for name, part in (("paths", epoch.index), ("looks", theirs)))
        total = torch.zeros(len(self.places), device=self.inputs.device)
        for batch, keys, mixture in zip(epoch.index, epoch.keys, trained, strict=True):
            total += self._train(batch, keys, rate, mixture)
        self._seen = [
            seen for batch, mixture in zip(theirs, judged, strict=True) for seen in self._judged(batch[None], mixture)
        ]
        self.epoch += 1
        return self._part((total / len(epoch.index)).tolist())

    def weights(self) -> list[dict[str, tuple[float, ...]]]:
        """Return nothing of each search: none has weights of options."""
        return [{}] * len(self.places)

    def trials(self) -> list[tuple[Trial, ...]]:
        """Return, of each search, the genotypes that it has judged."""
        batches = self._plan("alphas").index
        candidates = [self._candidates(place) for place in self.places]
        found: list[list[Trial]] = [[] for _ in candidates]
        for number in range(max(map(len, candidates))):
            choices = [of[number % len(of)] for of in candidates]
            seen = self._judged(batches, self._mixture(choices))
            logits, labels = (torch.cat(parts, dim=1).cpu() for parts in zip(*seen, strict=True))
            for row, trials in enumerate(found):
                if number < len(candidates[row]):
                    uar, loss = average_recall(logits[row], labels[row]), F.cross_entropy(logits[row], labels[row])
                    trials.append(Trial(choices[row], uar, float(loss)))
        return [tuple(trials) for trials in found]

    def _candidates(self, place: int) -> list[Choices]:
        """Return what a search judges: distinct networks, in the order of its own stream."""
        if self.space.size <= self.recipe.candidates:
            choices = [dict(one) for one in self.space.combinations]
        else:
            draws = self._draws(place, "candidates")
            choices = [self.space.combinations.sample(draws) for _ in range(2 * self.recipe.candidates)]
        seen = Distinct()
        return [one for one in choices if seen.add(self.graph.freeze(one))][: self.recipe.candidates]

    def _drawn(self, name: str, count: int) -> list[dict[str, Tensor]]:
        """Return mixtures of one genotype for each search, as many as there are steps."""
        draws = [self._draws(place, name, self.epoch) for place in self.places]
        return [self._mixture([self.space.combinations.sample(draw) for draw in draws]) for _ in range(count)]

    def _draws(self, place: int, *name: str | int) -> random.Random:
        return random.Random(stream_seed(*self.replicas[place].about, *name))

    def _mixture(self, choices: Sequence[Choices]) -> dict[str, Tensor]:
        """Return the mixture in which each search has one genotype."""
        parts = [one_hot(self.graph, one) for one in choices]
        return {name: torch.stack([of[name] for of in parts]).to(self.inputs.device) for name in self.graph.decisions}

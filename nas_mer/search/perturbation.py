"""Options chosen by how much the supernet misses them, not by their architecture weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from nas_mer.nn import stacked
from nas_mer.search.bilevel import BilevelSearch
from nas_mer.search.cost import Cost
from nas_mer.search.hypergradient import Tensors
from nas_mer.search.recipe import SearchRecipe
from nas_mer.search.supernets import Epoch, SearchReplica
from nas_mer.space import SearchSpace
from nas_mer.train.batches import Inputs
from nas_mer.train.states import Named, part, prefixed


class PerturbationSearch(BilevelSearch):
    """Perturbation-based selection (Wang et al., Rethinking Architecture Selection in Differentiable NAS, 2021).

    The supernet of DARTS is trained for the recipe's epochs. Then decision after decision is made, in the order of the
    graph: each of its options in turn is taken away, the others sharing its weight, and the one without which the loss
    on the alphas' half is greatest stays alone. After each decision the weights are trained for `tuning` epochs; the
    alphas stay. The paper takes decisions in random order, and counts the loss of accuracy, which on a hundred samples
    is often the same for several options.

    A decision's ranking weights are the softmax of the losses without each option, so that the most missed one leads.
    Rules between decisions have no say in the supernet; genotypes are derived under them.

    Attributes:
        without: decision -> the losses without each of its options, `(R, options)`, for those made so far.
    """

    def __init__(
        self, space: SearchSpace, inputs: Inputs, replicas: Sequence[SearchReplica], recipe: SearchRecipe
    ) -> None:
        super().__init__(space, inputs, replicas, recipe)
        self.without: dict[str, Tensor] = {}

    @classmethod
    def length(cls, space: SearchSpace, recipe: SearchRecipe) -> int:
        """Return how many epochs a search has: those of the supernet, and those after each decision."""
        return recipe.epochs + recipe.tuning * len(space.decisions)

    @classmethod
    def cost(cls, space: SearchSpace, recipe: SearchRecipe, replica: SearchReplica) -> Cost:
        """Return what a search costs."""
        steps, batch, *_ = replica.alike(recipe)
        looks = sum(map(len, space.decisions.values())) + recipe.tuning * len(space.decisions)
        samples = len(space.decisions) * recipe.tuning * steps * batch + looks * replica.look(recipe)
        return replace(super().cost(space, recipe, replica), once=samples)

    def run_epoch(self) -> dict[int, Epoch]:
        """Search for one epoch; the first of a decision's begins with making it."""
        after = self.epoch - self.recipe.epochs
        if after >= 0 and after % self.recipe.tuning == 0:
            self._decide(list(self.alphas)[after // self.recipe.tuning])
        return super().run_epoch()

    @property
    def _moves_alphas(self) -> bool:
        return super()._moves_alphas and self.epoch < self.recipe.epochs

    def _decide(self, decision: str) -> None:
        """Find the loss without each option of a decision."""
        batches = self._plan("alphas").index
        mixture = self._mixture(tuple(self.alphas.values()), tuple(self.alphas.values()))
        options = mixture[decision].shape[1]
        losses = [self._loss(batches, {**mixture, decision: taken_away(mixture[decision], i)}) for i in range(options)]
        self.without[decision] = torch.stack(losses, dim=1)

    def _loss(self, batches: Tensor, mixture: Named) -> Tensor:
        """Return the mean loss over batches, `(R,)`."""
        criterion = stacked(F.cross_entropy, self.stack.count)
        return torch.stack([criterion(logits, labels) for logits, labels in self._judged(batches, mixture)]).mean(0)

    def weights(self) -> list[dict[str, tuple[float, ...]]]:
        """Return, of each search, the ranking weight of each decision's options, which sum to 1."""
        made = {name: losses.softmax(1).tolist() for name, losses in self.without.items()}
        return [
            {name: tuple(made[name][row]) if name in made else weights for name, weights in found.items()}
            for row, found in enumerate(super().weights())
        ]

    def _mixture(self, alphas: Tensors, noise: Tensors) -> dict[str, Tensor]:
        made = {name: F.one_hot(losses.argmax(1), losses.shape[1]) for name, losses in self.without.items()}
        mixture = super()._mixture(alphas, noise)
        return {name: made[name].to(value.dtype) if name in made else value for name, value in mixture.items()}

    def _tensors(self) -> dict[str, Tensor]:
        return super()._tensors() | prefixed("without", self.without)

    def _restore(self, tensors: Named) -> None:
        super()._restore(tensors)
        self.without = {name: losses.to(self.inputs.device) for name, losses in part(tensors, "without").items()}

    def _keep(self, which: Tensor) -> None:
        super()._keep(which)
        self.without = {name: losses[which] for name, losses in self.without.items()}


def taken_away(weights: Tensor, option: int) -> Tensor:
    """Return weights `(R, options)` in which one is 0 and the others are greater in proportion, of the same sum.

    A single option stays as it is.
    """
    if weights.shape[1] == 1:
        return weights
    others = weights.clone()
    others[:, option] = 0
    return others * (weights.sum(1, keepdim=True) / others.sum(1, keepdim=True))

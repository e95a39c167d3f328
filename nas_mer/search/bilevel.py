"""Alternating bilevel search: weights on one half of the subjects, architecture weights on the other (DARTS)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nas_mer.search.cost import Cost
from nas_mer.search.hessian import dominant_eigenvalues
from nas_mer.search.hypergradient import HYPERGRADIENTS, Tensors
from nas_mer.search.recipe import SearchRecipe
from nas_mer.search.relaxation import RELAXATIONS, uniform_noise
from nas_mer.search.supernets import Epoch, SearchReplica, Supernets
from nas_mer.space import SearchSpace
from nas_mer.train.batches import Inputs
from nas_mer.train.optimizers import Adam
from nas_mer.train.states import Named, part, prefixed
from nas_mer.train.streams import stream


class BilevelSearch(Supernets):
    """DARTS (Liu et al., 2019), with any relaxation and order that the recipe names.

    Each epoch alternates alpha steps and weight steps. An alpha step sees the supernet without dropout and with the
    statistics of its batch; it changes no weight and no batch-norm buffer. A weight step changes no alpha.

    Attributes:
        alphas: decision -> `(R, options)`, for the R that are still searched.
    """

    def __init__(
        self, space: SearchSpace, inputs: Inputs, replicas: Sequence[SearchReplica], recipe: SearchRecipe
    ) -> None:
        super().__init__(space, inputs, replicas, recipe)
        self.relaxation = RELAXATIONS[recipe.relaxation]
        starts = [stream(*replica.about, "start") for replica in replicas]
        self.alphas = {
            decision: (
                self.relaxation.start
                + recipe.noise * torch.stack([torch.randn(len(options), generator=start) for start in starts])
            )
            .clamp_(min=self.relaxation.least)
            .to(inputs.device)
            .requires_grad_()
            for decision, options in self.graph.decisions.items()
        }
        adam = recipe.alphas
        self.alpha_optimizer = Adam(adam.learning_rate, adam.betas, adam.weight_decay, self.alphas)
        self.eigenvalues: dict[int, list[float]] = {place: [] for place in self.places}

    @classmethod
    def cost(cls, space: SearchSpace, recipe: SearchRecipe, replica: SearchReplica) -> Cost:
        """Return what a search costs: a weight step and an alpha step in turn, and the Hessian's rows.

        While the alphas stay, their half is looked at instead.
        """
        steps, batch, _, valid_batch = replica.alike(recipe)
        rows = 2 * sum(map(len, space.decisions.values())) * valid_batch if recipe.early_stopping else 0
        weights, alphas = steps * batch, steps * PASSES[recipe.order] * valid_batch
        return Cost(weights + alphas + rows, warm_up=recipe.warm_up, warming=weights + replica.look(recipe) + rows)

    def run_epoch(self) -> dict[int, Epoch]:
        """Search for one epoch; return what it left, by place, of each replica that did not fail in it."""
        rate = self.rate
        epoch = self._plan("weights")
        ours, keys, theirs = epoch.index, epoch.keys, self._plan("alphas").index
        noise, alpha_noise = (self._noise(name, len(ours)) for name in ("weight noise", "alpha noise"))
        total = torch.zeros(len(self.places), device=self.inputs.device)
        self._seen.clear()
        for step in range(len(ours)):
            if self._moves_alphas:
                valid = theirs[step % len(theirs)]
                self.alpha_step(ours[step], valid, rate, alpha_noise[step])
            total += self.weight_step(ours[step], keys[step], rate, noise[step])
        self.epoch += 1
        if not self._seen:
            self._seen.extend(self._judged(theirs, self._mixture(tuple(self.alphas.values()), alpha_noise[-1])))
        eigenvalues = self.curvature(theirs[0], alpha_noise[-1]).tolist() if self.recipe.early_stopping else None
        return self._part((total / len(ours)).tolist(), eigenvalues)

    @property
    def _moves_alphas(self) -> bool:
        """Whether this epoch has alpha steps."""
        return self.epoch >= self.recipe.warm_up

    def weight_step(self, batch: Tensor, keys: Tensor, rate: float, noise: Tensors) -> Tensor:
        """Train the weights on samples of their half.

        Args:
            batch: `(R, N)` indices of samples.
            keys: of the dropout layers; see `Stack.draw`.
            rate: the learning rate.
            noise: of the relaxation, `(R, options)` each.

        Returns:
            the losses `(R,)`.
        """
        with torch.no_grad():
            mixture = self._mixture(tuple(self.alphas.values()), noise)
        return self._train(batch, keys, rate, mixture)

    def alpha_step(self, train: Tensor, valid: Tensor, rate: float, noise: Tensors) -> None:
        """Train the alphas on samples of their half, `valid`.

        `train` and `rate` are those of the weight step to be unrolled.
        """
        self.alpha_optimizer.step(self.alphas, self.hypergradient(train, valid, rate, noise))
        with torch.no_grad():
            for alpha in self.alphas.values():
                alpha.clamp_(min=self.relaxation.least)

    def hypergradient(self, train: Tensor, valid: Tensor, rate: float, noise: Tensors) -> Tensors:
        """Return the gradient of the validation loss with respect to each alpha, in the recipe's order."""
        sgd = self.recipe.weights
        train_maps, valid_maps = self._maps(train), self._maps(valid)

        def logits(maps: Tensor, w: Tensors, a: Tensors) -> Tensor:
            return self.stack(maps, self._mixture(a, noise), dict(zip(self.stack.parameters, w, strict=True)))

        def train_loss(w: Tensors, a: Tensors) -> Tensor:
            return self._losses(logits(train_maps, w, a), train).sum()

        def valid_loss(w: Tensors, a: Tensors) -> Tensor:
            out = logits(valid_maps, w, a)
            self._seen.append((out.detach(), self.inputs.labels[valid]))
            return self._losses(out, valid).sum()

        def unroll(gradients: Tensors) -> Tensors:
            """One step of the weights' optimiser (DARTS's unrolled model): momentum, decay, gradient."""
            direction, _ = self.weight_optimizer.direction(self.stack.parameters, gradients)
            moved = zip(self.stack.parameters.values(), direction, strict=True)
            return tuple(parameter.detach() - rate * change for parameter, change in moved)

        with self.stack.measuring():
            return HYPERGRADIENTS[self.recipe.order](
                train_loss,
                valid_loss,
                tuple(parameter.detach() for parameter in self.stack.parameters.values()),
                tuple(self.alphas.values()),
                unroll,
                rate * (1 + sgd.momentum * sgd.nesterov),
            )

    def curvature(self, valid: Tensor, noise: Tensors) -> Tensor:
        """Return the largest eigenvalue of the Hessian of the validation loss with respect to all alphas, `(R,)`."""
        maps = self._maps(valid)
        fixed = {name: parameter.detach() for name, parameter in self.stack.parameters.items()}

        def losses(alphas: Tensors) -> Tensor:
            return self._losses(self.stack(maps, self._mixture(alphas, noise), fixed), valid)

        with self.stack.measuring():
            return dominant_eigenvalues(losses, tuple(self.alphas.values()))

    def weights(self) -> list[dict[str, tuple[float, ...]]]:
        """Return, of each search, the ranking weight of each decision's options, which sum to 1."""
        with torch.no_grad():
            ranking = {name: self.relaxation.weights(alpha).tolist() for name, alpha in self.alphas.items()}
        return [{name: tuple(rows[row]) for name, rows in ranking.items()} for row in range(len(self.places))]

    def _stops(self, place: int, record: Epoch) -> bool:
        if record.eigenvalue is not None:
            self.eigenvalues[place].append(record.eigenvalue)
        return self.recipe.stops(self.eigenvalues[place])

    def states(self) -> dict[int, dict[str, Tensor]]:
        """Return, of each search that goes on by its place, copies (on the CPU) of what the next epoch depends on."""
        found = super().states()
        for place, state in found.items():
            state["alpha_steps"] = torch.tensor(self.alpha_optimizer.count)
            if self.recipe.early_stopping:
                state["eigenvalues"] = torch.tensor(self.eigenvalues[place], dtype=torch.float64)
        return found

    def _tensors(self) -> dict[str, Tensor]:
        alphas = prefixed("alpha", self.alphas) | prefixed("alpha_optimizer", self.alpha_optimizer.state())
        return super()._tensors() | alphas

    def _restore(self, tensors: Named) -> None:
        super()._restore(tensors)
        with torch.no_grad():
            for name, alpha in self.alphas.items():
                alpha.copy_(tensors[f"alpha.{name}"])
        self.alpha_optimizer.restore(part(tensors, "alpha_optimizer"))
        (self.alpha_optimizer.count,) = set(tensors["alpha_steps"].tolist())
        if "eigenvalues" in tensors:
            self.eigenvalues = dict(zip(self.places, tensors["eigenvalues"].tolist(), strict=True))

    def _keep(self, which: Tensor) -> None:
        super()._keep(which)
        self.alphas = {name: alpha.detach()[which].requires_grad_() for name, alpha in self.alphas.items()}
        self.alpha_optimizer.keep(which)

    def _noise(self, name: str, steps: int) -> list[Tensors]:
        """Return the relaxation's noise of each step: `(R, options)` for each decision."""
        if not self.relaxation.noisy:
            return [tuple(self.alphas.values())] * steps
        draws = [stream(*self.replicas[place].about, name, self.epoch) for place in self.places]
        device = self.inputs.device
        return [
            tuple(
                torch.stack([uniform_noise(alpha.shape[1:], draw) for draw in draws]).to(device)
                for alpha in self.alphas.values()
            )
            for _ in range(steps)
        ]

    def _mixture(self, alphas: Tensors, noise: Tensors) -> dict[str, Tensor]:
        parts = (self.relaxation.mixture(alpha, one) for alpha, one in zip(alphas, noise, strict=True))
        return dict(zip(self.alphas, parts, strict=True))


PASSES = {"first": 1, "second": 4, "exact": 5}
"""How many forward and backward passes an alpha step takes: at the weights as they are; of the unrolled step, the loss
after it and two finite differences; of the same with a second backward pass, which costs about three."""

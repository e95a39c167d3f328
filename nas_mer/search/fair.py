"""Fair DARTS: options that do not compete, and a loss that makes each decide for or against itself."""

from __future__ import annotations

import torch
from torch import Tensor

from nas_mer.search.bilevel import BilevelSearch
from nas_mer.search.hypergradient import Tensors


class FairSearch(BilevelSearch):
    """Fair DARTS (Chu et al., 2020): sigmoids, and the zero-one loss added to the validation loss of the alphas."""

    def hypergradient(self, train: Tensor, valid: Tensor, rate: float, noise: Tensors) -> Tensors:
        """Return the gradient of validation loss and zero-one loss with respect to each alpha."""
        alphas = tuple(self.alphas.values())
        loss = self.recipe.zero_one * zero_one(alphas).sum()
        pulls = torch.autograd.grad(loss, alphas)
        found = super().hypergradient(train, valid, rate, noise)
        return tuple(gradient + pull for gradient, pull in zip(found, pulls, strict=True))


def zero_one(alphas: Tensors) -> Tensor:
    """Return the zero-one loss of R searches, `(R,)`: minus the mean of (sigmoid(a) - 0.5)^2 over all options (Eq. 6).

    It is 0 where all sigmoids are 0.5 and falls to -0.25 as they go to 0 or 1.

    Args:
        alphas: of each decision, `(R, options)`.
    """
    return -(torch.cat(alphas, dim=1).sigmoid() - 0.5).square().mean(dim=1)

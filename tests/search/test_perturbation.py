import pytest
import torch
import torch.nn.functional as F

from nas_mer.search.perturbation import PerturbationSearch, taken_away


def test_the_others_share_the_weight_of_what_is_taken_away():
    weights = torch.tensor([[0.2, 0.3, 0.5], [0.6, 0.6, 0.3]])
    found = taken_away(weights, 1)
    assert torch.allclose(found, torch.tensor([[2 / 7, 0, 5 / 7], [1.0, 0, 0.5]]))
    assert torch.equal(taken_away(weights[:, :1], 0), weights[:, :1])


@pytest.fixture
def search(space, start):
    like = start(epochs=1, tuning=2)
    return PerturbationSearch(space, like.inputs, like.replicas, like.recipe)


def test_decisions_are_made_one_after_the_other(search, space):
    records = [search.run_epoch()[0] for _ in range(PerturbationSearch.length(space, search.recipe))]
    assert len(records) == 1 + 2 * len(space.decisions)
    names = list(space.graph.decisions)
    alphas = [tuple(alpha.flatten().tolist()) for alpha in search.alphas.values()]
    for number, name in enumerate(names):
        before, first, second = (records[1 + 2 * number + offset].weights[name] for offset in (-1, 0, 1))
        assert before != first == second == records[-1].weights[name]
        assert sum(first) == pytest.approx(1)
    mixture = search._mixture(tuple(search.alphas.values()), tuple(search.alphas.values()))
    for name, weights in mixture.items():
        assert weights.sum() == weights.max() == 1  # one option is left alone
        assert weights.argmax().item() == max(range(weights.shape[1]), key=records[-1].weights[name].__getitem__)
    assert alphas == [tuple(alpha.flatten().tolist()) for alpha in search.alphas.values()]


def test_the_loss_without_an_option_is_that_of_a_supernet_without_it(search):
    """A supernet whose alpha of the option is so low that it has no weight."""
    search.run_epoch()
    batches = search._plan("alphas").index
    search._decide("conv")
    losses = search.without.pop("conv")[0]
    alphas = dict(search.alphas)
    for option in range(2):
        changed = alphas["conv"].detach().clone()
        changed[0, option] = -1e4
        mixture = {name: (changed if name == "conv" else alpha).softmax(1) for name, alpha in alphas.items()}
        expected = [F.cross_entropy(logits[0], labels[0]) for logits, labels in search._judged(batches, mixture)]
        assert losses[option].item() == pytest.approx(torch.stack(expected).mean().item(), rel=1e-5)


def test_it_goes_on_the_same_after_a_decision(search):
    for _ in range(2):
        search.run_epoch()
    other = PerturbationSearch(search.space, search.inputs, search.replicas, search.recipe)
    other.restore([search.states()[0]])
    assert other.run_epoch() == search.run_epoch()

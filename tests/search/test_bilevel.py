import copy
import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load, save
from sklearn.metrics import balanced_accuracy_score
from torch import nn

from nas_mer.search import DivergedError
from nas_mer.search.bilevel import _measuring
from nas_mer.space import SearchSpace

ORDERS = ("first", "second", "exact")
RELAXATIONS = ("softmax", "sum", "sigmoid", "gumbel")
TRAIN, VALID = torch.arange(7), torch.arange(10)
MILD = {"learning_rate": 0.005, "weight_decay": 3e-4}  # unbounded weights of sigmoid make large steps diverge

PLAIN = """
version: 1
name: plain
input: {channels: 3, size: 12}
states:
  a:
    from:
      - input: {choose: {x: [{op: conv, kernel: 3, channels: 4}], y: [{op: conv, kernel: 1, channels: 4}]}}
    module: {choose: {p: [{op: conv, kernel: 3}, batch_norm, relu], q: [{op: conv, kernel: 1}, relu]}}
head: {from: a, pool: 2}
"""


def parts(search):
    """All tensors that a search is made of, by what they belong to (as copies)."""
    found = {
        name: {} for name in ("weights", "weight optimizer", "weight random", "alphas", "alpha optimizer", "epoch")
    }
    for name, value in search.state().items():
        kind = {
            "network": "weights",
            "weight_optimizer": "weight optimizer",
            "alpha": "alphas",
            "alpha_optimizer": "alpha optimizer",
            "epoch": "epoch",
        }.get(name.partition(".")[0], "weight random")
        found[kind][name] = value
    found["alpha random"] = {"noise": found["weight random"].pop("random.alpha noise")}
    return found


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def changed(search, step):
    """Which parts a step changes."""
    before = parts(search)
    step()
    after = parts(search)
    return {name for name in before if not equal(before[name], after[name])}


# --- who changes what ---


@pytest.mark.parametrize("relaxation", ["softmax", "gumbel"])
@pytest.mark.parametrize("order", ORDERS)
def test_a_step_changes_its_own_side_only(start, order, relaxation):
    search = start(order=order, relaxation=relaxation)
    search.run_epoch()  # moments and running statistics are there
    modes = [module.training for module in search.network.modules()]
    alpha_side, weight_side = {"alphas", "alpha optimizer"}, {"weights", "weight optimizer", "weight random"}
    noise = {"alpha random"} if relaxation == "gumbel" else set()
    assert changed(search, lambda: search.alpha_step(TRAIN, VALID, 0.05)) == alpha_side | noise
    assert changed(search, lambda: search.weight_step(TRAIN)) == weight_side
    assert [module.training for module in search.network.modules()] == modes


def test_each_optimiser_holds_its_own(start):
    search = start()
    weights, alphas = (
        {id(p) for group in optimizer.param_groups for p in group["params"]}
        for optimizer in (search.weight_optimizer, search.alpha_optimizer)
    )
    assert weights == {id(parameter) for parameter in search.network.parameters()}
    assert alphas == {id(alpha) for alpha in search.alphas.values()}
    assert not weights & alphas


def test_all_weights_and_all_alphas_learn(start):
    search = start()
    before = parts(search)
    search.run_epoch()
    after = parts(search)
    for kind in ("weights", "alphas"):
        assert not any(torch.equal(before[kind][name], after[kind][name]) for name in before[kind])


def test_measuring_holds_for_modules_of_the_users(start):
    """Ops may bring torch's own dropout and norms of any dimension."""
    user = nn.Sequential(
        nn.Conv1d(3, 3, 1), nn.BatchNorm1d(3), nn.Dropout(), nn.BatchNorm1d(3, track_running_stats=False)
    )
    network, x = user.train(), torch.randn(4, 3, 5)
    state, random = copy.deepcopy(user.state_dict()), torch.get_rng_state()
    with _measuring(network):
        once = network(x)
        assert torch.equal(once, network(x))
    assert equal(state, network.state_dict())
    assert torch.equal(random, torch.get_rng_state())
    assert not torch.equal(network(x), network(x))
    assert [network[1].track_running_stats, network[3].track_running_stats] == [True, False]
    assert not equal(state, network.state_dict())


def test_the_halves_stay_apart(start, data):
    """Other maps in the alphas' half change no weight as long as the alphas stay."""

    def searched(factor):
        search = start(warm_up=2, normalise="none")
        assert torch.equal(search.train_maps, data.maps[:14])
        assert torch.equal(search.valid_maps, data.maps[14:])
        search.valid_maps = factor * search.valid_maps
        records = [search.run_epoch() for _ in range(2)]
        state = search.state()
        search.run_epoch()
        return records, state, parts(search)["alphas"]

    (records, state, alphas), (others, other_state, other_alphas) = searched(1.0), searched(-3.0)
    assert [record.train_loss for record in records] == [record.train_loss for record in others]
    assert all(one.valid_loss != other.valid_loss for one, other in zip(records, others, strict=True))
    assert equal(state, other_state)
    assert not equal(alphas, other_alphas)


# --- the hypergradient of a supernet ---


def in_float64(search):
    search.network.double()
    search.train_maps, search.valid_maps = search.train_maps.double(), search.valid_maps.double()
    for alpha in search.alphas.values():
        alpha.data = alpha.data.double()


@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True)])
def test_exact_is_the_derivative_of_the_loss_after_a_step_of_the_optimiser(start, momentum, nesterov):
    """In float64, against central differences of: torch's SGD takes its step, then the loss of the alphas' half."""
    graph = SearchSpace.load("rcn", size=12, feature_maps=3, pool=2, dropout=0.0).graph
    settings = {"learning_rate": 0.1, "momentum": momentum, "weight_decay": 0.01, "nesterov": nesterov}
    search = start(graph, order="exact", weights=settings, noise=0.5)
    in_float64(search)
    moments = [torch.randn_like(parameter) for parameter in search.network.parameters()]
    for parameter, moment in zip(search.network.parameters(), moments, strict=True):
        if momentum:
            search.weight_optimizer.state[parameter]["momentum_buffer"] = moment.clone()

    def value(alphas):
        network = copy.deepcopy(search.network)
        mixture = {name: alpha.softmax(0) for name, alpha in alphas.items()}
        sgd = torch.optim.SGD(network.parameters(), 0.1, momentum, weight_decay=0.01, nesterov=nesterov)
        for parameter, moment in zip(network.parameters(), moments, strict=True):
            if momentum:
                sgd.state[parameter]["momentum_buffer"] = moment.clone()
        F.cross_entropy(network(search.train_maps[TRAIN], mixture), search.train_labels[TRAIN]).backward()
        sgd.step()
        with torch.no_grad():
            return F.cross_entropy(network(search.valid_maps[VALID], mixture), search.valid_labels[VALID]).item()

    found = search.hypergradient(TRAIN, VALID, 0.1)
    for (decision, alpha), gradient in zip(search.alphas.items(), found, strict=True):
        for place in range(len(alpha)):
            sides = []
            for sign in (1, -1):
                moved = {name: other.detach().clone() for name, other in search.alphas.items()}
                moved[decision][place] += sign * 1e-6
                sides.append(value(moved))
            assert gradient[place].item() == pytest.approx((sides[0] - sides[1]) / 2e-6, rel=1e-3, abs=1e-7)


def test_orders_on_one_supernet(start):
    """Without kinks finite differences agree with the exact hypergradient; the first order is something else."""
    found = {}
    for order in ORDERS:
        search = start(SearchSpace.parse(PLAIN).graph, order=order)
        for options in search.network.modules():
            for name, module in options.named_children():
                if isinstance(module, nn.ReLU):
                    setattr(options, name, nn.Softplus())
        in_float64(search)
        found[order] = torch.cat(search.hypergradient(TRAIN, VALID, 0.5))
    size = found["exact"].norm()
    assert (found["second"] - found["exact"]).norm() < 1e-3 * size
    assert (found["first"] - found["exact"]).norm() > 0.2 * size


def test_the_alphas_take_a_step_of_adam(start):
    search = start(warm_up=1, alphas={"learning_rate": 0.03, "betas": [0.4, 0.9], "weight_decay": 0.1})
    search.run_epoch()
    copies = [alpha.detach().clone() for alpha in search.alphas.values()]
    adam = torch.optim.Adam(copies, 0.03, (0.4, 0.9), weight_decay=0.1)
    for _ in range(2):
        for alpha, gradient in zip(copies, search.hypergradient(TRAIN, VALID, 0.05), strict=True):
            alpha.grad = gradient
        adam.step()
        search.alpha_step(TRAIN, VALID, 0.05)
    for alpha, expected in zip(search.alphas.values(), copies, strict=True):
        torch.testing.assert_close(alpha.detach(), expected)


# --- epochs ---


def test_warm_up_leaves_the_alphas_where_they_start(start):
    search = start(warm_up=2)
    begun = parts(search)["alphas"]
    for _ in range(2):
        record = search.run_epoch()
        assert equal(parts(search)["alphas"], begun)
    for name, weights in record.weights.items():
        torch.testing.assert_close(torch.tensor(weights), begun[f"alpha.{name}"].softmax(0))
    search.run_epoch()
    assert not equal(parts(search)["alphas"], begun)


def test_the_learning_rate_follows_the_schedule(start):
    search = start(schedule={"kind": "cosine", "final": 0.01}, epochs=3)
    for epoch in range(3):
        search.run_epoch()
        expected = 0.01 + 0.04 * (1 + np.cos(np.pi * epoch / 3)) / 2
        assert search.weight_optimizer.param_groups[0]["lr"] == pytest.approx(expected)


def test_what_an_epoch_says_of_the_alphas_half(start):
    """In a warm-up epoch: loss and recall of the supernet as the epoch leaves it, all the half in one batch."""
    search = start(warm_up=1, batch_size=14)
    record = search.run_epoch()
    network = copy.deepcopy(search.network)
    for module in network.modules():
        module.training = isinstance(module, nn.BatchNorm2d)
    mixture = {name: torch.tensor(weights) for name, weights in record.weights.items()}
    with torch.no_grad():
        logits = network(search.valid_maps, mixture)
    assert record.epoch == 1
    assert record.valid_loss == pytest.approx(F.cross_entropy(logits, search.valid_labels).item(), rel=1e-5)
    assert record.valid_uar == pytest.approx(balanced_accuracy_score(search.valid_labels, logits.argmax(1)))


def test_an_epoch_takes_every_sample_of_the_weights_half_once(start, monkeypatch):
    search = start()
    batches, weight_step = [], search.weight_step
    monkeypatch.setattr(search, "weight_step", lambda batch: batches.append(batch) or weight_step(batch))
    for _ in range(2):
        search.run_epoch()
    first, second = (torch.cat(batches[2 * epoch : 2 * epoch + 2]).tolist() for epoch in range(2))
    assert sorted(first) == sorted(second) == list(range(14))
    assert first != second


@pytest.mark.parametrize("relaxation", RELAXATIONS)
def test_ranking_weights_are_shares(start, relaxation):
    """Wherever the alphas start and however far they step: `sum` cuts them off above zero."""
    search = start(relaxation=relaxation, noise=3.0, weights=MILD, alphas={"learning_rate": 2.0})
    for weights in (search.weights(), search.run_epoch().weights, search.run_epoch().weights):
        for name, options in search.graph.decisions.items():
            assert len(weights[name]) == len(options)
            assert sum(weights[name]) == pytest.approx(1, rel=1e-5)
            assert min(weights[name]) >= 0
    if relaxation == "sum":
        lowest = torch.cat([alpha.detach() for alpha in search.alphas.values()]).min()
        assert lowest == torch.tensor(1e-6)


def test_no_weight_step_is_longer_than_the_clip(start):
    plain = {"learning_rate": 1.0, "momentum": 0.0}
    for clip, clipped in ((1e-3, True), (1e6, False)):
        search = start(clip=clip, weights=plain)
        before = [parameter.detach().clone() for parameter in search.network.parameters()]
        search.weight_step(TRAIN)
        moves = [p.detach() - b for p, b in zip(search.network.parameters(), before, strict=True)]
        length = torch.stack([move.norm() for move in moves]).norm().item()
        assert length == pytest.approx(1e-3, rel=1e-2) if clipped else length > 0.01


def test_a_search_that_diverges_names_the_epoch(start):
    search = start(weights={"learning_rate": 1e37}, clip=1e30)
    with pytest.raises(
        DivergedError, match=r"^the search diverged in epoch \d: training loss .*, validation loss "
    ) as error:
        [search.run_epoch() for _ in range(9)]
    assert f"epoch {search.epoch}:" in str(error.value)


# --- the same again ---


@pytest.mark.parametrize(
    ("order", "relaxation", "momentum", "nesterov"),
    [
        *((order, relaxation, 0.9, False) for order, relaxation in itertools.product(ORDERS, ("softmax", "gumbel"))),
        ("first", "sum", 0.9, True),
        ("exact", "sigmoid", 0.5, True),
        ("exact", "sum", 0.0, False),
    ],
)
def test_going_on_from_any_epoch_is_as_if_never_stopped(start, order, relaxation, momentum, nesterov):
    settings = {
        "order": order,
        "relaxation": relaxation,
        "warm_up": 1,
        "weights": MILD | {"momentum": momentum, "nesterov": nesterov},
        "schedule": {"kind": "cosine"},
    }
    search = start(**settings)
    saved, records = [save(search.state())], []
    for _ in range(3):
        records.append(search.run_epoch())
        saved.append(save(search.state()))
    for epoch in range(3):
        torch.manual_seed(epoch)
        again = start(**settings)
        again.restore(load(saved[epoch]))
        assert save(again.state()) == saved[epoch]
        assert [again.run_epoch() for _ in range(epoch, 3)] == records[epoch:]
        assert equal(again.state(), load(saved[3]))
    search.restore(load(saved[0]))  # the same object goes back: nothing of the later epochs may stay
    assert [search.run_epoch() for _ in range(3)] == records


def test_names_of_decisions_may_begin_alike(start):
    """`a` and `a.input`: the moments of one are not the other's."""
    graph = SearchSpace.parse(PLAIN).graph
    assert set(graph.decisions) == {"a", "a.input"}
    search = start(graph)
    records = [search.run_epoch() for _ in range(4)]
    again = start(graph)
    for record in records:
        assert again.run_epoch() == record
        content = save(again.state())
        again = start(graph)
        again.restore(load(content))
        assert save(again.state()) == content


def test_a_state_is_a_copy(start):
    search = start()
    search.run_epoch()
    state = search.state()
    before = {name: tensor.clone() for name, tensor in state.items()}
    search.run_epoch()
    assert equal(state, before)
    after = search.state()
    for _ in range(2):
        search.restore(state)
        search.run_epoch()
        assert equal(state, before)
        assert equal(search.state(), after)


def test_a_search_depends_on_its_seed_alone(start):
    first = start(relaxation="gumbel")
    records = [first.run_epoch() for _ in range(2)]
    torch.manual_seed(1234)
    torch.rand(3)
    again = start(relaxation="gumbel")
    assert [again.run_epoch() for _ in range(2)] == records
    assert equal(again.state(), first.state())
    for about in ((1,), (0, "smic/s01")):
        assert start(about=about, relaxation="gumbel").run_epoch() != records[0]


def test_a_search_begins_at_equal_weights_and_noise(start, space):
    quiet, noisy = start(noise=0.0), start(noise=0.1)
    for name, weights in quiet.weights().items():
        assert weights == pytest.approx([1 / len(space.decisions[name])] * len(space.decisions[name]))
    drawn = torch.cat([alpha.detach() for alpha in noisy.alphas.values()])
    assert 0.05 < drawn.std() < 0.2

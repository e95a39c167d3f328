import copy
import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load, save
from sklearn.metrics import balanced_accuracy_score
from torch import nn

from nas_mer.nn import Network
from nas_mer.search import SearchRecipe, SearchReplica
from nas_mer.search.relaxation import RELAXATIONS, uniform_noise
from nas_mer.search.supernets import average_recall, clipped
from nas_mer.space import SearchSpace
from nas_mer.space.ops import Dropout
from nas_mer.train import Maps
from nas_mer.train.states import part

ORDERS = ("first", "second", "exact")
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
    """All tensors that searches are made of, by what they belong to (as copies)."""
    found = {"weights": {}, "weight optimizer": {}, "alphas": {}, "alpha optimizer": {}, "epoch": {}}
    kinds = {"network": "weights", "weight_optimizer": "weight optimizer", "alpha": "alphas", "epoch": "epoch"}
    for place, state in search.states().items():
        for name, value in state.items():
            found[kinds.get(name.partition(".")[0], "alpha optimizer")][place, name] = value
    return found


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def changed(search, step):
    """Which parts a step changes."""
    before = parts(search)
    step()
    after = parts(search)
    return {name for name in before if not equal(before[name], after[name])}


def batches(search):
    """Samples of each half, other ones for each search: 7 for the weights, all there are for the alphas."""
    replicas = [search.replicas[place] for place in search.places]
    least = min(len(one.alphas) for one in replicas)
    halves = [one.weights[:7] for one in replicas], [one.alphas[:least] for one in replicas]
    return tuple(torch.from_numpy(np.stack(half)) for half in halves)


def draws(search, seed=0):
    """Keys for the dropout layers, and noise for the relaxation."""
    generator = torch.Generator().manual_seed(seed)
    keys = torch.randint(2**62, (search.stack.dropouts, len(search.places)), generator=generator)
    return keys, tuple(uniform_noise(alpha.shape, generator) for alpha in search.alphas.values())


def alpha_step(search, rate=0.05):
    search.alpha_step(*batches(search), rate, draws(search)[1])


def weight_step(search, rate=0.05, seed=0):
    keys, noise = draws(search, seed)
    return search.weight_step(batches(search)[0], keys, rate, noise)


def supernet(search, place=0):
    """One of the supernets as an ordinary module, in training."""
    network = Network(search.graph, search.inputs.classes)
    _, unexpected = network.load_state_dict(part(search.states()[place], "network"), strict=False)
    assert not unexpected
    return network


def without_dropout(network):
    """The same module, which sees the statistics of each batch."""
    for module in network.modules():
        module.training = isinstance(module, nn.BatchNorm2d)
    return network


def row(tensors, number):
    return {name: tensor[number].detach().clone() for name, tensor in tensors.items()}


# --- who changes what ---


@pytest.mark.parametrize(
    ("order", "relaxation", "count"), [*itertools.product(ORDERS, ["softmax"], [1, 2]), ("second", "gumbel", 2)]
)
def test_a_step_changes_its_own_side_only(start, replica, order, relaxation, count):
    search = start(*map(replica, range(count)), order=order, relaxation=relaxation)
    search.run_epoch()  # moments and running statistics are there
    assert changed(search, lambda: alpha_step(search)) == {"alphas", "alpha optimizer"}
    assert changed(search, lambda: weight_step(search)) == {"weights", "weight optimizer"}


@pytest.mark.parametrize("order", ORDERS)
def test_an_alpha_step_leaves_dropout_on_for_the_weights(start, order):
    search = start(order=order)
    alpha_step(search)
    state, losses = search.states()[0], []
    for seed in (0, 1, 0):
        search.restore([state])
        losses.append(weight_step(search, seed=seed).item())
    assert losses[0] == losses[2] != losses[1]


def test_all_weights_and_all_alphas_learn(start, replica):
    search = start(replica(0), replica(1))
    before = parts(search)
    search.run_epoch()
    after = parts(search)
    for kind in ("weights", "alphas"):
        assert not any(torch.equal(before[kind][name], after[kind][name]) for name in before[kind])


def test_the_halves_stay_apart(start, data):
    """Other maps in the alphas' half change no weight as long as the alphas stay."""

    def searched(factor):
        maps = data.maps.clone()
        maps[14:] *= factor
        search = start(data=Maps(maps, data.labels, 3, 0.0), warm_up=2, normalise="none")
        records = [search.run_epoch()[0] for _ in range(2)]
        state = search.states()[0]
        search.run_epoch()
        return records, state, parts(search)["alphas"]

    (records, state, alphas), (others, other_state, other_alphas) = searched(1.0), searched(-3.0)
    assert [record.train_loss for record in records] == [record.train_loss for record in others]
    assert all(one.valid_loss != other.valid_loss for one, other in zip(records, others, strict=True))
    assert equal(state, other_state)
    assert not equal(alphas, other_alphas)


@pytest.mark.parametrize("normalise", ["standardise", "instance"])
def test_samples_in_neither_half_have_no_say(start, data, normalise):
    """A nested search holds a subject out: other maps and labels there, the same search, bit for bit."""
    seen = SearchReplica(np.arange(2, 16), np.arange(16, 24), (0, "smic/s01"))

    def searched(maps, labels):
        search = start(seen, data=Maps(maps, labels, 3, 0.0), normalise=normalise)
        return [search.run_epoch() for _ in range(2)], search.states()[0]

    maps, labels = data.maps.clone(), data.labels.clone()
    maps[:2], labels[:2] = 1e3 * torch.randn(2, 3, 12, 12), 2
    (records, state), (others, other_state) = searched(data.maps, data.labels), searched(maps, labels)
    assert records == others
    assert equal(state, other_state)
    maps[2] += 1
    assert searched(maps, labels)[0] != records


# --- the steps, against torch's own optimisers on an ordinary module ---


@pytest.mark.parametrize(("momentum", "nesterov", "count"), [(0.0, False, 1), (0.9, False, 2), (0.9, True, 2)])
@pytest.mark.usefixtures("float64")
def test_exact_is_the_derivative_of_the_loss_after_a_step_of_the_optimiser(
    start, data, replica, momentum, nesterov, count
):
    """Against central differences of: torch's SGD takes its step, then the loss of the alphas' half."""
    space = SearchSpace.load("rcn", size=12, feature_maps=3, pool=2, dropout=0.0)
    settings = {"learning_rate": 0.1, "momentum": momentum, "weight_decay": 0.01, "nesterov": nesterov}
    searches = map(replica, range(count))
    search = start(*searches, space=space, order="exact", weights=settings, noise=0.5, normalise="none")
    train, valid = batches(search)
    if momentum:
        search.weight_optimizer.moments = {k: torch.randn_like(m) for k, m in search.weight_optimizer.moments.items()}
    maps, labels, last = data.maps.double(), data.labels, count - 1
    moments, network = row(search.weight_optimizer.moments, last), supernet(search, last)
    start_state = copy.deepcopy(network.state_dict())

    def value(alphas):
        network.load_state_dict(start_state)
        network.zero_grad()
        mixture = {name: alpha.softmax(0) for name, alpha in alphas.items()}
        sgd = torch.optim.SGD(network.parameters(), 0.1, momentum, weight_decay=0.01, nesterov=nesterov)
        for name, parameter in network.named_parameters():
            if momentum:
                sgd.state[parameter]["momentum_buffer"] = moments[name].clone()
        F.cross_entropy(network(maps[train[last]], mixture), labels[train[last]]).backward()
        sgd.step()
        with torch.no_grad():
            return F.cross_entropy(network(maps[valid[last]], mixture), labels[valid[last]]).item()

    found = search.hypergradient(train, valid, 0.1, draws(search)[1])
    for (decision, alpha), gradient in zip(search.alphas.items(), found, strict=True):
        for place in range(alpha.shape[1]):
            sides = []
            for sign in (1, -1):
                moved = row(search.alphas, last)
                moved[decision][place] += sign * 1e-6
                sides.append(value(moved))
            expected = (sides[0] - sides[1]) / 2e-6
            assert gradient[last, place].item() == pytest.approx(expected, rel=1e-3, abs=1e-7)


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.usefixtures("float64")
def test_orders_on_one_supernet(start, replica, monkeypatch, count):
    """Without kinks finite differences agree with the exact hypergradient; the first order is something else."""
    monkeypatch.setattr(nn.ReLU, "forward", lambda self, x: F.softplus(x))
    found = {}
    for order in ORDERS:
        search = start(*map(replica, range(count)), space=SearchSpace.parse(PLAIN), order=order)
        found[order] = torch.cat(search.hypergradient(*batches(search), 0.5, draws(search)[1]), dim=1)
    size = found["exact"].norm(dim=1)
    assert ((found["second"] - found["exact"]).norm(dim=1) < 1e-3 * size).all()
    assert ((found["first"] - found["exact"]).norm(dim=1) > 0.2 * size).all()


@pytest.mark.parametrize("relaxation", RELAXATIONS)
@pytest.mark.usefixtures("float64")
def test_a_weight_step_is_one_of_sgd_after_clipping(start, data, replica, relaxation):
    """Of each search, with its own dropout; the second of two steps, so that there is a momentum."""
    settings = {"learning_rate": 0.05, "momentum": 0.8, "weight_decay": 0.01, "nesterov": True}
    search = start(
        replica(0), replica(1), weights=settings, relaxation=relaxation, clip=0.3, normalise="none", noise=0.1
    )
    keys, noise = draws(search)
    train, _ = batches(search)
    networks = [supernet(search, place) for place in range(2)]
    losses = [search.weight_step(train, keys, rate, noise).tolist() for rate in (0.05, 0.02)]
    for place, network in enumerate(networks):
        alphas, uniform = row(search.alphas, place), [one[place] for one in noise]
        relax = RELAXATIONS[relaxation].mixture
        mixture = {name: relax(alpha, one) for (name, alpha), one in zip(alphas.items(), uniform, strict=True)}
        dropouts = [module for module in network.modules() if isinstance(module, Dropout)]
        for dropout, key in zip(dropouts, keys[:, place], strict=True):
            dropout.key = key
        sgd = torch.optim.SGD(network.parameters(), 0.05, 0.8, weight_decay=0.01, nesterov=True)
        for step, rate in enumerate((0.05, 0.02)):
            sgd.param_groups[0]["lr"] = rate
            sgd.zero_grad()
            batch = train[place]
            loss = F.cross_entropy(network(data.maps[batch].double(), mixture), data.labels[batch])
            loss.backward()
            assert nn.utils.clip_grad_norm_(network.parameters(), 0.3) > 0.3
            sgd.step()
            assert losses[step][place] == pytest.approx(loss.item(), rel=1e-9)
        found = supernet(search, place).state_dict()
        torch.testing.assert_close(dict(network.state_dict()), dict(found), rtol=1e-7, atol=1e-9)


def test_the_alphas_take_a_step_of_adam(start, replica):
    search = start(
        replica(0), replica(1), warm_up=1, alphas={"learning_rate": 0.03, "betas": [0.4, 0.9], "weight_decay": 0.1}
    )
    search.run_epoch()
    copies = [alpha.detach().clone() for alpha in search.alphas.values()]
    adam = torch.optim.Adam(copies, 0.03, (0.4, 0.9), weight_decay=0.1)
    for _ in range(2):
        found = search.hypergradient(*batches(search), 0.05, draws(search)[1])
        for alpha, gradient in zip(copies, found, strict=True):
            alpha.grad = gradient
        adam.step()
        alpha_step(search)
    for alpha, expected in zip(search.alphas.values(), copies, strict=True):
        torch.testing.assert_close(alpha.detach(), expected)


@pytest.mark.parametrize("most", [1e-3, 1.0, 5.0])
def test_each_network_is_clipped_as_torch_does_it(most):
    generator = torch.Generator().manual_seed(0)
    shapes = ((4, 3, 2), (5,), ())
    size = torch.tensor([0.1, 1.0, 3.0, 0.0])
    gradients = [
        torch.randn(4, *shape, generator=generator) * size.view(-1, *[1] * len(shape)) for shape in shapes
    ]  # four networks, the last without a gradient
    found = clipped(gradients, most)
    lengths = []
    for number in range(4):
        parameters = [nn.Parameter(torch.zeros(shape)) for shape in shapes]
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient[number].clone()
        lengths.append(float(nn.utils.clip_grad_norm_(parameters, most)) > most)
        for parameter, one in zip(parameters, found, strict=True):
            torch.testing.assert_close(one[number], parameter.grad)
    assert not lengths[3]
    assert most < 1 or lengths[:3] == [False, most < 5, True]


def test_no_weight_step_is_longer_than_the_clip(start, replica):
    plain = {"learning_rate": 1.0, "momentum": 0.0}
    for clip, is_clipped in ((1e-3, True), (1e6, False)):
        search = start(replica(0), replica(1), clip=clip, weights=plain)
        before = [parameter.detach().clone() for parameter in search.stack.parameters.values()]
        weight_step(search, rate=1.0)
        moves = [p.detach() - b for p, b in zip(search.stack.parameters.values(), before, strict=True)]
        for length in torch.stack([move.flatten(1).norm(dim=1) for move in moves]).norm(dim=0).tolist():
            assert length == pytest.approx(1e-3, rel=1e-2) if is_clipped else length > 0.01


# --- epochs ---


def test_warm_up_leaves_the_alphas_where_they_start(start):
    search = start(warm_up=2)
    begun = parts(search)["alphas"]
    for _ in range(2):
        record = search.run_epoch()[0]
        assert equal(parts(search)["alphas"], begun)
    for name, weights in record.weights.items():
        torch.testing.assert_close(torch.tensor(weights), begun[0, f"alpha.{name}"].softmax(0))
    search.run_epoch()
    assert not equal(parts(search)["alphas"], begun)


def test_the_learning_rate_follows_the_schedule(start, monkeypatch):
    search = start(schedule={"kind": "cosine", "final": 0.01}, epochs=3)
    weight, alpha, rates = search.weight_step, search.alpha_step, []
    monkeypatch.setattr(search, "weight_step", lambda b, k, rate, n: rates.append(rate) or weight(b, k, rate, n))
    monkeypatch.setattr(search, "alpha_step", lambda t, v, rate, n: rates.append(rate) or alpha(t, v, rate, n))
    for epoch in range(3):
        search.run_epoch()
        expected = 0.01 + 0.04 * (1 + np.cos(np.pi * epoch / 3)) / 2
        assert rates == pytest.approx([expected] * 4)
        rates.clear()


@pytest.mark.parametrize("seeds", [(0,), (0, 3)])
def test_what_a_warm_up_epoch_says_of_the_alphas_half(start, data, replica, seeds):
    """Loss and recall of the supernet as the epoch leaves it, here all the half in one batch."""
    search = start(*map(replica, seeds), warm_up=1, batch_size=14, normalise="none")
    records = search.run_epoch()
    assert records.keys() == set(range(len(seeds)))
    for place, record in records.items():
        network, half = without_dropout(supernet(search, place)), search.replicas[place].alphas
        mixture = {name: torch.tensor(weights) for name, weights in record.weights.items()}
        with torch.no_grad():
            logits = network(data.maps[half], mixture)
        assert record.epoch == 1
        assert record.valid_loss == pytest.approx(F.cross_entropy(logits, data.labels[half]).item(), rel=1e-4)
        assert record.valid_uar == pytest.approx(balanced_accuracy_score(data.labels[half], logits.argmax(1)))


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.usefixtures("float64")
def test_what_an_epoch_says_is_what_its_steps_saw(start, data, replica, monkeypatch, count):
    search = start(*map(replica, range(count)), normalise="none")
    alpha, weight, seen, trained = search.alpha_step, search.weight_step, [], []

    def looking(train, valid, rate, noise):
        for place in range(count):
            mixture = {name: values.softmax(0) for name, values in row(search.alphas, place).items()}
            with torch.no_grad():
                logits = without_dropout(supernet(search, place))(data.maps[valid[place]].double(), mixture)
            seen.append((place, logits, data.labels[valid[place]]))
        alpha(train, valid, rate, noise)

    def training(*step):
        trained.append(weight(*step))
        return trained[-1]

    monkeypatch.setattr(search, "alpha_step", looking)
    monkeypatch.setattr(search, "weight_step", training)
    for epoch in (1, 2):
        seen.clear(), trained.clear()
        for place, record in search.run_epoch().items():
            logits, labels = (torch.cat([one[part] for one in seen if one[0] == place]) for part in (1, 2))
            assert len(labels) == 14  # two alpha steps: one batch of the alphas' half, twice
            assert record.epoch == epoch
            assert record.valid_loss == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-9)
            assert record.valid_uar == pytest.approx(balanced_accuracy_score(labels, logits.argmax(1)))
            assert record.train_loss == pytest.approx(torch.stack(trained)[:, place].mean().item(), rel=1e-9)


def test_an_epoch_takes_every_sample_of_the_weights_half_once(start, replica, monkeypatch):
    """What is left over of a full batch waits for another epoch."""
    search = start(replica(0), replica(1))  # 14 and 15 samples, in two batches of 7
    taken, weight_step = [], search.weight_step
    monkeypatch.setattr(search, "weight_step", lambda batch, *more: taken.append(batch) or weight_step(batch, *more))
    for _ in range(8):
        search.run_epoch()
    epochs = torch.stack(taken).view(8, 2, 2, 7).transpose(1, 2).flatten(2).tolist()  # epochs x searches x samples
    for place, count in ((0, 14), (1, 15)):
        half = set(search.replicas[place].weights.tolist())
        assert len(half) == count
        assert all(len(set(epoch[place])) == 14 and set(epoch[place]) <= half for epoch in epochs)
        assert set().union(*(epoch[place] for epoch in epochs)) == half
        assert epochs[0][place] != epochs[1][place]


def test_alpha_steps_take_samples_of_their_half_alone(start, replica, monkeypatch):
    search = start(replica(0), replica(1), batch_size=4)
    taken, alpha_step = [], search.alpha_step
    monkeypatch.setattr(search, "alpha_step", lambda *step: taken.append(step[:2]) or alpha_step(*step))
    search.run_epoch()
    for place, one in enumerate(search.replicas):
        assert {i for train, _ in taken for i in train[place].tolist()} <= set(one.weights.tolist())
        seen = [valid[place].tolist() for _, valid in taken]
        assert {i for valid in seen for i in valid} <= set(one.alphas.tolist())
        assert len(seen) == 3
        assert not set(seen[0]) & set(seen[1])
        assert seen[2] == seen[0]  # three batches of the weights' half, two of the alphas': they begin again


@pytest.mark.parametrize("relaxation", RELAXATIONS)
def test_ranking_weights_are_shares(start, replica, relaxation):
    """Wherever the alphas start and however far they step: `sum` cuts them off above zero."""
    search = start(
        replica(0), replica(1), relaxation=relaxation, noise=3.0, weights=MILD, alphas={"learning_rate": 2.0}
    )
    records = [search.run_epoch() for _ in range(2)]
    found = [*search.weights(), *(record.weights for epoch in records for record in epoch.values())]
    assert len(found) == 6
    for weights in found:
        for name, options in search.graph.decisions.items():
            assert len(weights[name]) == len(options)
            assert sum(weights[name]) == pytest.approx(1, rel=1e-5)
            assert min(weights[name]) >= 0
    if relaxation == "sum":
        lowest = torch.cat([alpha.detach() for alpha in search.alphas.values()], dim=1).min()
        assert lowest == torch.tensor(1e-6)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=20))
def test_average_recall_is_over_the_classes_that_are_there(pairs):
    labels, said = (torch.tensor(column) for column in zip(*pairs, strict=True))
    recalls = [float((said[labels == label] == label).double().mean()) for label in set(labels.tolist())]
    assert average_recall(F.one_hot(said, 4).float(), labels) == pytest.approx(np.mean(recalls))


# --- many searches as one program ---


def alone(start, one, epochs, **settings):
    search = start(one, **settings)
    return [search.run_epoch()[0] for _ in range(epochs)], search.states()[0]


def close(found, expected):
    """Records or states that differ by rounding in float64 at most."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-8)
        return
    for one, other in zip(found, expected, strict=True):
        assert (one.epoch, one.weights.keys()) == (other.epoch, other.weights.keys())
        for name in ("train_loss", "valid_loss", "valid_uar"):
            assert getattr(one, name) == pytest.approx(getattr(other, name), rel=1e-7), name
        for decision, weights in one.weights.items():
            assert weights == pytest.approx(other.weights[decision], rel=1e-7)


@pytest.mark.parametrize(("order", "relaxation"), [*zip(itertools.cycle(ORDERS), RELAXATIONS, strict=False)])
@pytest.mark.usefixtures("float64")
def test_a_search_is_the_same_whichever_run_beside_it(start, replica, order, relaxation):
    settings = {"order": order, "relaxation": relaxation, "weights": MILD, "noise": 0.1, "normalise": "standardise"}
    replicas = [replica(0), replica(1), replica(1, "smic/s01")]
    expected = [alone(start, one, 2, **settings) for one in replicas]
    assert len({record.train_loss for records, _ in expected for record in records}) == 6
    for places in ((0, 1, 2), (2, 0)):
        search = start(*(replicas[place] for place in places), **settings)
        epochs = [search.run_epoch() for _ in range(2)]
        for number, place in enumerate(places):
            close([epoch[number] for epoch in epochs], expected[place][0])
            close(search.states()[number], expected[place][1])


@pytest.mark.parametrize("normalise", ["standardise", "instance", "stretch", "none"])
@pytest.mark.usefixtures("float64")
def test_each_search_normalises_by_its_own_samples(start, data, replica, normalise):
    """The maps that a search does not have are far off: they would change its statistics."""
    maps = data.maps.clone()
    maps[20:] *= 50
    settings = {"normalise": normalise, "data": Maps(maps, data.labels, 3, 0.0), "weights": MILD}
    few = SearchReplica(np.arange(14), np.arange(14, 21), (0,))
    many = SearchReplica(np.arange(23, 9, -1), np.arange(9), (0,))
    search = start(few, many, **settings)
    epochs = [search.run_epoch() for _ in range(2)]
    for place, one in enumerate((few, many)):
        close([epoch[place] for epoch in epochs], alone(start, one, 2, **settings)[0])


@pytest.mark.usefixtures("float64")
def test_one_that_diverges_leaves_and_the_others_go_on(start, replica):
    replicas = [replica(0), replica(1), replica(2), replica(3)]
    expected = [alone(start, one, 4, relaxation="gumbel") for one in replicas]
    search = start(*replicas, relaxation="gumbel")
    records = [search.run_epoch()]
    for number, place in ((1, 1), (0, 0), (1, 3)):  # rows of what is left, places in what there was
        with torch.no_grad():
            next(iter(search.stack.parameters.values()))[number] = float("nan")
        records.append(search.run_epoch())
        assert search.failures[place] == (
            f"the search diverged in epoch {search.epoch}: training loss nan, validation loss nan"
        )
    assert [list(epoch) for epoch in records] == [[0, 1, 2, 3], [0, 2, 3], [2, 3], [2]]
    assert search.places == [2]
    assert search.failures.keys() == {0, 1, 3}
    for place, (alone_records, state) in enumerate(expected):
        lasted = [epoch[place] for epoch in records if place in epoch]
        close(lasted, alone_records[: len(lasted)])
        if place == 2:
            close(search.states()[2], state)
    assert search.states().keys() == {2}
    assert len(search.weights()) == 1


def test_a_loss_of_the_alphas_half_that_is_not_finite_ends_a_search_too(start, data):
    maps = torch.cat([data.maps, torch.full((1, 3, 12, 12), float("inf"))])
    spoilt = Maps(maps, torch.cat([data.labels, data.labels[:1]]), 3, 0.0)
    sound, broken = (SearchReplica(np.arange(14), np.arange(*part), (0,)) for part in ((14, 21), (18, 25)))
    settings = {"data": spoilt, "normalise": "none", "warm_up": 1}
    search = start(broken, sound, **settings)
    assert search.run_epoch().keys() == {1}
    assert search.failures[0].startswith("the search diverged in epoch 1: training loss 1.")
    assert search.failures[0].endswith(", validation loss nan")
    assert search.run_epoch()[1].train_loss == pytest.approx(alone(start, sound, 2, **settings)[0][1].train_loss)


def test_searches_that_all_diverge_name_the_epoch(start, replica):
    search = start(replica(0), replica(1), weights={"learning_rate": 1e37}, clip=1e30)
    while search.places:
        search.run_epoch()
        assert search.epoch < 9
    assert search.failures.keys() == {0, 1}
    for failure in search.failures.values():
        assert failure.startswith("the search diverged in epoch ")
        assert ": training loss " in failure
        assert ", validation loss " in failure
    assert f"epoch {search.epoch}:" in "".join(search.failures.values())
    assert search.states() == {}


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 9))
def test_searches_are_alike_that_take_as_many_steps_of_as_many_samples(weights, alphas, batch_size):
    settings = {"epochs": 1, "batch_size": batch_size, "weights": {"learning_rate": 1}, "alphas": {"learning_rate": 1}}
    recipe = SearchRecipe.model_validate(settings)
    found = SearchReplica(np.arange(weights), np.arange(alphas), (0,)).alike(recipe)
    steps = max(weights // batch_size, 1), max(alphas // batch_size, 1)
    assert found == (steps[0], min(weights, batch_size), steps[1], min(alphas, batch_size))


# --- the same again ---


@pytest.mark.parametrize(
    ("order", "relaxation", "momentum", "nesterov"),
    [
        ("first", "softmax", 0.9, False),
        ("second", "gumbel", 0.9, False),
        ("first", "sum", 0.9, True),
        ("exact", "sigmoid", 0.5, True),
        ("first", "gumbel", 0.0, False),
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
    saved, records = [save(search.states()[0])], []
    for _ in range(3):
        records.append(search.run_epoch())
        saved.append(save(search.states()[0]))
    for epoch in range(3):
        torch.manual_seed(epoch)
        again = start(**settings)
        again.restore([load(saved[epoch])])
        assert save(again.states()[0]) == saved[epoch]
        assert [again.run_epoch() for _ in range(epoch, 3)] == records[epoch:]
        assert equal(again.states()[0], load(saved[3]))
    search.restore([load(saved[0])])  # the same object goes back: nothing of the later epochs may stay
    assert [search.run_epoch() for _ in range(3)] == records


@pytest.mark.parametrize(("order", "relaxation"), [("first", "gumbel"), ("exact", "softmax")])
@pytest.mark.usefixtures("float64")
def test_searches_may_be_regrouped(start, replica, order, relaxation):
    """Two that ran together and one alone go on in other groups, one of them from the place of one that diverged."""
    settings = {"order": order, "relaxation": relaxation, "weights": MILD, "schedule": {"kind": "cosine"}}
    replicas = [replica(0), replica(1), replica(2), replica(3)]
    expected = [alone(start, one, 3, **settings) for one in replicas]
    together, lonely = start(*replicas[:3], **settings), start(replicas[3], **settings)
    together.run_epoch(), lonely.run_epoch()
    with torch.no_grad():
        next(iter(together.stack.parameters.values()))[1] = float("nan")
    together.run_epoch(), lonely.run_epoch()
    states = together.states() | {3: lonely.states()[0]}
    assert states.keys() == {0, 2, 3}
    for places in ((3, 0), (2,)):
        search = start(*(replicas[place] for place in places), **settings)
        search.restore([states[place] for place in places])
        assert search.epoch == 2
        record = search.run_epoch()
        for number, place in enumerate(places):
            close([record[number]], expected[place][0][2:])
            close(search.states()[number], expected[place][1])


def test_names_of_decisions_may_begin_alike(start, replica):
    """`a` and `a.input`: the moments of one are not the other's."""
    space = SearchSpace.parse(PLAIN)
    assert set(space.decisions) == {"a", "a.input"}
    search = start(space=space)
    records = [search.run_epoch() for _ in range(4)]
    again = start(space=space)
    for record in records:
        assert again.run_epoch() == record
        content = save(again.states()[0])
        again = start(space=space)
        again.restore([load(content)])
        assert save(again.states()[0]) == content


@pytest.mark.parametrize("count", [1, 2])
def test_a_state_is_a_copy(start, replica, count):
    search = start(*map(replica, range(count)))
    search.run_epoch()
    states = search.states()
    before = [{name: tensor.clone() for name, tensor in state.items()} for state in states.values()]
    search.run_epoch()
    assert all(map(equal, states.values(), before))
    after = search.states()
    for _ in range(2):
        search.restore(list(states.values()))
        search.run_epoch()
        assert all(map(equal, states.values(), before))
        assert all(map(equal, search.states().values(), after.values()))


def test_a_search_depends_on_its_seed_alone(start, replica):
    first = start(relaxation="gumbel")
    records = [first.run_epoch() for _ in range(2)]
    torch.manual_seed(1234)
    torch.rand(3)
    before = torch.get_rng_state()
    again = start(relaxation="gumbel")
    assert [again.run_epoch() for _ in range(2)] == records
    assert torch.equal(torch.get_rng_state(), before)
    assert equal(again.states()[0], first.states()[0])
    for about in ((1,), (0, "smic/s01")):
        other = SearchReplica(replica(0).weights, replica(0).alphas, about)
        assert start(other, relaxation="gumbel").run_epoch() != records[0]


def test_a_search_begins_at_equal_weights_and_noise(start, space):
    quiet, noisy = start(noise=0.0), start(noise=0.1)
    for name, weights in quiet.weights()[0].items():
        assert weights == pytest.approx([1 / len(space.decisions[name])] * len(space.decisions[name]))
    drawn = torch.cat([alpha.detach() for alpha in noisy.alphas.values()], dim=1)
    assert 0.05 < drawn.std() < 0.2

import functools
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight

from nas_mer.nn import Network
from nas_mer.space import SearchSpace
from nas_mer.train import Group, Inputs, Replica, alike, quickest_group, train
from nas_mer.train.batches import Normaliser, plan
from nas_mer.train.group import _epoch_seconds, class_weights
from nas_mer.train.streams import stream, stream_seed
from nas_mer.workers import each

TRAIN, TEST = np.arange(6, 30), np.arange(6)
KINDS = ("standardise", "instance", "stretch", "none")
RICH = {
    "augment": {"flip": 0.5, "shift": 1, "magnitude": 0.2, "erase": 2},
    "balance": 0.5,
    "label_smoothing": 0.1,
    "optimizer": {"learning_rate": 0.02, "weight_decay": 1e-3, "nesterov": True},
    "schedule": {"kind": "step", "every": 1, "factor": 0.5},
}
"""With all that a recipe can have."""


@pytest.fixture(scope="module")
def replica(space):
    """A network with every kind of part: wide, shortcut, attention, shared weights, dropout."""
    genotype = space.genotype("rcn-f")
    return Replica(genotype.digest, space.freeze(genotype), "smic/s01", TRAIN, TEST, 0)


@pytest.fixture(scope="module")
def members(replica):
    """Five that can be trained together: of other folds and seeds, with other numbers of samples and of each class."""
    rng = np.random.default_rng(1)
    found = []
    for number, (train_size, test_size) in enumerate([(16, 1), (23, 7), (18, 3), (21, 5), (20, 2)]):
        samples = rng.permutation(29)
        train, test = np.sort(samples[:train_size]), samples[train_size:][:test_size]
        found.append(replace(replica, fold=f"db/{number // 2}", seed=number, train=train, test=test[: 29 - train_size]))
    return found


@pytest.fixture(scope="module")
def run(trained):
    """What a replica gives that is trained alone."""
    return lambda replica, data, recipe: trained([replica], data, recipe)[0]


def same(one, other):
    """Whether two trainings gave the same, bit for bit."""
    return (
        np.array_equal(one.logits, other.logits)
        and one.losses == other.losses
        and one.failure == other.failure
        and one.weights.keys() == other.weights.keys()
        and all(torch.equal(one.weights[name], other.weights[name]) for name in one.weights)
    )


def close(one, other, rtol=1e-9, atol=1e-11):
    """Check that two trainings gave the same but for rounding. Logits are float32."""
    assert one.failure == other.failure
    np.testing.assert_allclose(one.losses, other.losses, rtol=rtol, atol=atol)
    np.testing.assert_allclose(one.logits, other.logits, rtol=max(rtol, 1e-6), atol=max(atol, 1e-6))
    assert one.weights.keys() == other.weights.keys()
    for name, value in one.weights.items():
        torch.testing.assert_close(value, other.weights[name], rtol=rtol, atol=atol, msg=name)


def in_double(data):
    return replace(data, maps=data.maps.double())


# --- one replica ------------------------------------------------------------------------------------------------------


def test_training_learns_what_can_be_learned(run, replica, data, recipe):
    trained = run(replica, data, recipe(epochs=25, augment={}))
    assert len(trained.losses) == 25
    assert np.mean(trained.losses[-3:]) < 0.7 * trained.losses[0]
    assert (trained.logits.argmax(axis=1) == data.labels.numpy()[TEST]).sum() >= 5


@pytest.mark.parametrize("balance", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_training_is_sgd_in_a_loop(run, space, data, recipe, balance, label_smoothing):
    """Against the same written plainly, with torch's optimiser (no dropout or augmentation)."""
    space = space.with_parameters(dropout=0.0)
    genotype = space.genotype("rcn-c")
    chosen = np.delete(TRAIN, [0, 3, 6, 9])  # classes of unequal size; two batches of 8, and 4 samples left over
    replica = Replica(genotype.digest, space.freeze(genotype), "smic/s01", chosen, TEST, 0)
    made = recipe(
        epochs=4,
        augment={},
        optimizer={"learning_rate": 0.02, "momentum": 0.8, "weight_decay": 1e-2, "nesterov": True},
        schedule={"kind": "step", "every": 2, "factor": 0.1},
        balance=balance,
        label_smoothing=label_smoothing,
    )
    about = (0, genotype.digest, "smic/s01")
    maps, labels = data.maps[chosen], data.labels[chosen]
    mean, deviation = maps.mean((0, 2, 3), keepdim=True), maps.std((0, 2, 3), keepdim=True)
    inverse = compute_class_weight("balanced", classes=np.arange(3), y=labels.numpy()) ** balance
    weight = torch.from_numpy(inverse / inverse[labels.numpy()].mean()).float()
    torch.manual_seed(stream_seed(*about, "network"))
    network = Network(replica.graph)
    optimizer = torch.optim.SGD(network.parameters(), 0.02, 0.8, weight_decay=1e-2, nesterov=True, foreach=False)
    criterion = torch.nn.CrossEntropyLoss(weight, label_smoothing=label_smoothing)
    losses = []
    for epoch in range(4):
        optimizer.param_groups[0]["lr"] = 0.02 if epoch < 2 else 0.002
        indices = torch.randperm(20, generator=stream(*about, epoch, "order"))
        total = 0.0
        for batch in (indices[:8], indices[8:16]):
            loss = criterion(network((maps[batch] - mean) / deviation), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        losses.append(total / 2)
    network.eval()
    with torch.no_grad():
        logits = network((data.maps[TEST] - mean) / deviation).numpy()

    trained = run(replica, data, made)
    np.testing.assert_allclose(trained.losses, losses, rtol=1e-4)
    np.testing.assert_allclose(trained.logits, logits, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("normalise", KINDS)
def test_the_held_out_subject_has_no_say(run, replica, data, recipe, normalise):
    """Other maps and labels there, even none: the same network, bit for bit."""
    made = recipe(normalise=normalise, epochs=2, stop_loss=0.01, balance=1.0)
    maps, labels = data.maps.clone(), data.labels.clone()
    maps[TEST] = 1e3 * torch.randn(len(TEST), 3, 12, 12)
    labels[TEST] = 0
    trained = run(replica, data, made)
    other = run(replica, replace(data, maps=maps, labels=labels), made)
    assert not np.array_equal(trained.logits, other.logits)
    assert same(trained, replace(other, logits=trained.logits))
    one = run(replace(replica, test=TEST[:1]), data, made)
    assert same(replace(trained, logits=one.logits), one)
    np.testing.assert_allclose(one.logits, trained.logits[:1], rtol=1e-4, atol=1e-5)


def test_a_result_depends_on_seed_genotype_and_fold_alone(run, replica, data, recipe):
    first = run(replica, data, recipe())
    run(replace(replica, fold="smic/s02", seed=3), data, recipe())
    torch.manual_seed(99)
    torch.rand(7)
    assert same(first, run(replica, data, recipe()))
    for other in (
        replace(replica, seed=1),
        replace(replica, fold="smic/s02"),
        replace(replica, genotype="another"),
    ):
        assert not same(first, run(other, data, recipe()))


def test_training_leaves_maps_and_global_random_state_alone(replica, data, recipe):
    maps, made = data.maps.clone(), recipe(epochs=1, **RICH)
    inputs = Inputs.of(data, made.normalise, made.augment)
    pool, before = inputs.pool.clone(), torch.get_rng_state()
    train([replica, replace(replica, seed=1)], lambda group: None, inputs, made)
    assert torch.equal(data.maps, maps)
    assert torch.equal(inputs.pool, pool)
    assert torch.equal(torch.get_rng_state(), before)


def test_every_epoch_is_reported(trained, replica, data, recipe):
    heard = []

    def hear(group):
        heard.append((group.epoch, list(group.places), sorted(group.trained), len(group.losses[1])))

    trained([replica, replace(replica, seed=1)], data, recipe(epochs=3), hear)
    assert heard == [(1, [0, 1], [], 1), (2, [0, 1], [], 2), (3, [], [0, 1], 3)]


def test_training_stops_at_the_loss_it_was_told(run, replica, data, recipe):
    losses = run(replica, data, recipe(epochs=12, augment={})).losses
    first = int(np.argmin(losses[:8]))  # the first epoch with a loss as low
    assert first > 0
    stopped = run(replica, data, recipe(epochs=12, augment={}, stop_loss=losses[first])).losses
    assert stopped == losses[: first + 1]
    above = run(replica, data, recipe(epochs=12, augment={}, stop_loss=losses[first] - 1e-6)).losses
    assert len(above) > first + 1
    assert above == losses[: len(above)]


def test_a_training_that_diverges_says_so(run, replica, data, recipe):
    trained = run(replica, data, recipe(epochs=30, optimizer={"learning_rate": 1e20}))
    epoch = len(trained.losses)
    assert trained.failure == f"seed 0, fold smic/s01: the training loss became {trained.losses[-1]} in epoch {epoch}"
    assert np.isfinite(trained.losses[:-1]).all()
    assert not np.isfinite(trained.losses[-1])
    assert trained.logits.shape == (0, 3)
    assert not trained.weights


def test_a_network_that_breaks_in_its_last_step_says_so(run, replica, data, recipe):
    """The loss is measured before the step: here it never sees what the step did."""
    trained = run(replica, data, recipe(epochs=1, batch_size=24, optimizer={"learning_rate": 1e38}))
    assert np.isfinite(trained.losses).all()
    assert trained.failure == "seed 0, fold smic/s01: the network's outputs are not finite after epoch 1"
    assert trained.logits.shape == (0, 3)
    assert not trained.weights


@pytest.mark.parametrize("normalise", KINDS)
def test_weights_rebuild_the_network(run, replica, data, recipe, normalise):
    trained = run(replica, data, recipe(normalise=normalise, epochs=1))
    weights = dict(trained.weights)
    normaliser = Normaliser(normalise, weights.pop("normaliser.mean", None), weights.pop("normaliser.scale", None))
    assert (normaliser.mean is not None) == (normalise == "standardise")
    network = Network(replica.graph)
    missing, unexpected = network.load_state_dict(weights, strict=False)
    assert not unexpected
    parameters = dict(network.named_parameters(remove_duplicate=False))
    assert all(parameters[name] is parameters[name.replace("r2", "r1").replace("r3", "r1")] for name in missing)
    assert set(dict(network.named_parameters()) | dict(network.named_buffers())) == set(weights)
    network.eval()
    with torch.no_grad():
        logits = network(normaliser(data.maps[TEST])).numpy()
    np.testing.assert_allclose(logits, trained.logits, rtol=1e-5, atol=1e-6)


def test_augmentation_changes_training_and_nothing_else_draws_from_it(run, replica, data, recipe):
    """A flip of a map that is its own mirror image changes nothing, so it has to give what no flip gives."""
    kinds = ({}, {"flip": 0.5}, {"shift": 1}, {"magnitude": 0.1}, {"erase": 2})
    assert len({run(replica, data, recipe(augment=augment)).losses for augment in kinds}) == len(kinds)
    maps = data.maps + data.maps.flip(3)
    maps[:, 0] = 0.0
    symmetric = replace(data, maps=maps)
    none = recipe(augment={}, normalise="none")
    assert same(run(replica, symmetric, none), run(replica, symmetric, recipe(augment={"flip": 0.5}, normalise="none")))


@pytest.mark.parametrize("count", [1, 2])
def test_a_network_whose_input_is_cut_off_is_trained_as_well(trained, data, recipe, count):
    """NAS-Bench-201 has such cells; what comes before the zeros has no gradient, and decays."""
    space = SearchSpace.load("nasbench201", channels=3, cells=1, size=12)
    graph = space.graph.freeze(dict.fromkeys(space.decisions, "none"))
    replicas = [Replica("none", graph, "smic/s01", TRAIN, TEST, seed) for seed in range(count)]
    for one in trained(replicas, data, recipe(epochs=2)):
        assert one.failure is None
        np.testing.assert_allclose(one.logits, one.logits[:1].repeat(len(TEST), 0), rtol=1e-5)


def test_replicas_are_alike_if_their_steps_are(replica, recipe):
    made = recipe(batch_size=8)

    def sized(count, **changes):
        return alike(replace(replica, train=np.arange(count), **changes), made)

    assert sized(16) == sized(23, fold="b", seed=3, test=TEST[:1])
    assert len({sized(16), sized(15), sized(24), sized(7), sized(6), sized(16, genotype="another")}) == 6


# --- class weights ----------------------------------------------------------------------------------------------------


def test_full_class_weights_are_those_of_scikit_learn():
    labels = np.array([0, 0, 0, 1, 2, 2, 0])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    np.testing.assert_allclose(class_weights(torch.from_numpy(np.bincount(labels)), 1.0), expected, rtol=1e-6)


@given(st.lists(st.integers(0, 50), min_size=2, max_size=5).filter(any), st.sampled_from([0.0, 0.3, 0.5, 1.0]))
def test_class_weights_are_inverse_shares_to_a_power(counts, power):
    """1 on average over samples, and 0 where a class is absent."""
    weights = class_weights(torch.tensor(counts), power).double().numpy()
    counts = np.array(counts)
    assert (weights * counts).sum() / counts.sum() == pytest.approx(1.0, rel=1e-5)
    present = counts > 0
    assert (weights[~present] == 0).all()
    inverse = (counts[present] / counts.sum()) ** -power
    np.testing.assert_allclose(weights[present] / weights[present][0], inverse / inverse[0], rtol=1e-5)


def test_each_network_has_its_own_class_weights():
    counts = torch.tensor([[3, 0, 9], [5, 5, 5], [1, 2, 3]])
    for row, weights in zip(counts, class_weights(counts, 0.5), strict=True):
        torch.testing.assert_close(weights, class_weights(row, 0.5))


# --- groups -----------------------------------------------------------------------------------------------------------


@st.composite
def partitions(draw, count=5):
    """The numbers below `count` in groups, in any order."""
    order = draw(st.permutations(range(count)))
    cuts = sorted(draw(st.sets(st.integers(1, count - 1))))
    return [order[start:end] for start, end in zip([0, *cuts], [*cuts, count], strict=True)]


@pytest.fixture(scope="module")
def alone(run, members, data, recipe, double):
    """What the members give each by itself, in double precision, by the kind of normalising."""

    @functools.cache
    def found(kind):
        with double():
            return [run(member, in_double(data), recipe(normalise=kind, **RICH)) for member in members]

    return found


def test_the_members_differ_in_all_that_they_may(members, data, alone, recipe):
    """Else a group that mixes them up would pass."""
    assert len({alike(member, recipe()) for member in members}) == 1
    assert len({len(member.test) for member in members}) == len({len(member.train) for member in members}) == 5
    assert len({tuple(np.bincount(data.labels[member.train]) / len(member.train)) for member in members}) == 5
    for kind in KINDS:
        assert len({one.losses for one in alone(kind)}) == 5
        assert all(one.failure is None and len(one.losses) == 3 for one in alone(kind))


@pytest.fixture
def grouped(trained, members, data, recipe, double, alone):
    """Check that members that are trained in groups come to what each comes to alone."""

    def check(kind, partition):
        with double():
            for group in partition:
                found = trained([members[place] for place in group], in_double(data), recipe(normalise=kind, **RICH))
                for place, one in zip(group, found, strict=True):
                    assert one.logits.shape == (len(members[place].test), 3)
                    close(one, alone(kind)[place])

    return check


@pytest.mark.parametrize("kind", KINDS)
def test_a_result_does_not_depend_on_who_is_trained_beside(grouped, kind):
    grouped(kind, [[1, 0], [2], [4, 3]])


@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example([[4, 3, 2, 1, 0]])
@given(partitions())
def test_nor_do_statistics_that_a_group_fits(grouped, partition):
    grouped("standardise", partition)


@pytest.mark.parametrize("kind", KINDS)
def test_in_single_precision_groups_agree_to_rounding(run, trained, members, data, recipe, kind):
    made = recipe(normalise=kind, **RICH)
    apart = [run(member, data, made) for member in members]
    for member, one in zip(reversed(apart), trained(members[::-1], data, made), strict=True):
        close(member, one, rtol=2e-3, atol=1e-4)
    assert same(trained(members[:1], data, made)[0], apart[0])


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("balance", [0.0, 1.0])
def test_losses_are_each_networks_own(run, trained, members, data, recipe, double, balance, smoothing):
    """Torch computes a weighted and a smoothed loss in other ways than a plain one."""
    made = recipe(epochs=1, balance=balance, label_smoothing=smoothing)
    with double():
        for member, one in zip(members, trained(members, in_double(data), made), strict=True):
            close(one, run(member, in_double(data), made))


@pytest.fixture(scope="module")
def eventful(members, data, recipe, alone):
    """Members, maps and a recipe with which one stops early, and another meets a broken map in its second epoch.

    Returns:
        all three, and the place of each of the two.
    """
    made = recipe(epochs=4, **RICH)

    def drawn(one, epoch):
        """Whether the last sample is trained on in an epoch."""
        inputs = Inputs.of(data, made.normalise, made.augment)
        return bool((plan(one.train, inputs, 8, 0, (*one.about, epoch)).index % 30 == 29).any())

    fails = 2
    late = (replace(members[fails], train=np.append(members[fails].train, 29), seed=seed) for seed in range(100))
    failing = next(one for one in late if not drawn(one, 0) and drawn(one, 1))
    maps = data.maps.double()
    maps[29] = math.nan
    # A limit between the two least losses after two epochs: one gets below it, and no other does by then.
    second = {place: one.losses[1] for place, one in enumerate(alone("instance")) if place != fails}
    first, next_one = sorted(second, key=second.get)[:2]
    limit = (second[first] + second[next_one]) / 2
    changed = [failing if place == fails else member for place, member in enumerate(members)]
    return (
        changed,
        replace(data, maps=maps),
        made.model_copy(update={"normalise": "instance", "stop_loss": limit}),
        (
            first,
            fails,
        ),
    )


@pytest.fixture(scope="module")
def eventful_alone(run, eventful, double):
    members, data, made, _ = eventful
    with double():
        return [run(member, data, made) for member in members]


def test_one_stops_early_and_another_fails(eventful, eventful_alone):
    """What the following test needs in order to say anything."""
    *_, made, (stops, fails) = eventful
    assert stops != fails
    for place, one in enumerate(eventful_alone):
        if place == fails:
            assert len(one.losses) == 2
            assert math.isnan(one.losses[1])
            assert one.failure.endswith("the training loss became nan in epoch 2")
        else:
            assert one.failure is None
            assert len(one.losses) == 4 or one.losses[-1] <= made.stop_loss
    assert len(eventful_alone[stops].losses) <= 2
    assert {len(one.losses) for one in eventful_alone} >= {2, 4}


@settings(max_examples=3, deadline=None)
@example([[0, 1, 2, 3, 4]])
@example([[2, 4], [3, 1, 0]])
@given(partitions())
def test_those_that_leave_a_group_do_not_disturb_it(trained, eventful, eventful_alone, double, partition):
    members, data, made, _ = eventful
    with double():
        for group in partition:
            found = trained([members[place] for place in group], data, made)
            for place, one in zip(group, found, strict=True):
                close(one, eventful_alone[place])


def test_those_that_left_are_told_of_at_once(trained, eventful, eventful_alone, double):
    members, data, made, _ = eventful
    heard = []
    with double():
        found = trained(members, data, made, lambda group: heard.append((list(group.places), dict(group.trained))))
    for epoch, (places, results) in enumerate(heard, start=1):
        assert places == [place for place, one in enumerate(eventful_alone) if len(one.losses) > epoch]
        assert sorted([*places, *results]) == list(range(5))
        assert all(results[place] is found[place] for place in results)
    assert len(heard) == max(len(one.losses) for one in eventful_alone)


# --- alone on one thread ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_trained_alone_a_replica_repeats_bit_for_bit(run, replica, data, recipe, kind):
    made = recipe(normalise=kind, **RICH)
    assert same(run(replica, data, made), run(replica, data, made))


def test_any_number_of_workers_gives_the_same(replica, data, recipe, monkeypatch):
    """Here each of two trains several replicas, one after the other."""
    monkeypatch.syspath_prepend(Path(__file__).parent)
    import train_tasks

    made = recipe(epochs=2, **RICH)
    inputs = Inputs.of(data, made.normalise, made.augment)
    replicas = [replace(replica, fold=fold, seed=seed) for fold in ("a", "b") for seed in (0, 1)]
    found = {}
    for workers in (1, 2):
        heard = []
        results = each(
            train_tasks.alone, replicas, (inputs, made), workers, lambda task, what, heard=heard: heard.append(what)
        )
        found[workers] = {(one.fold, one.seed): trained for one, trained in results}
        assert found[workers].keys() == {(one.fold, one.seed) for one in replicas}
        assert 1 in heard
    assert all(same(alone, found[2][about]) for about, alone in found[1].items())
    assert len({alone.losses for alone in found[1].values()}) == 4


# --- stopping and going on --------------------------------------------------------------------------------------------


def states_after(replicas, data, recipe, epochs):
    """What a group of replicas is to go on from, after some epochs."""
    group = Group(replicas, Inputs.of(data, recipe.normalise, recipe.augment), recipe)
    for _ in range(epochs):
        group.run_epoch()
    return group.states()


@pytest.mark.parametrize("kind", KINDS)
def test_a_training_goes_on_as_if_never_stopped(run, trained, replica, data, recipe, kind):
    """Bit for bit, after any epoch, and more than once."""
    made = recipe(epochs=4, normalise=kind, **RICH)
    whole = run(replica, data, made)
    for epoch in range(1, 4) if kind == "standardise" else (2,):
        (state,) = states_after([replica], data, made, epoch).values()
        assert state["losses"].tolist() == list(whole.losses[:epoch])
        heard = []
        (one,) = trained([replica], data, made, lambda group, heard=heard: heard.append(group.epoch), [state])
        assert heard == list(range(epoch + 1, 5))
        assert same(one, whole)

    inputs = Inputs.of(data, made.normalise, made.augment)
    state = None
    while True:
        group = Group([replica], inputs, made)
        if state:
            group.restore([state])
        group.run_epoch()
        if not group.places:
            break
        (state,) = group.states().values()
    assert same(group.trained[0], whole)


def test_states_are_copies_and_nothing_is_changed_by_taking_them(trained, members, data, recipe):
    """Nor by going on from them."""
    made = recipe(**RICH)
    kept = []

    def keep(group):
        states = group.states()
        kept.append((states, {place: {name: t.clone() for name, t in s.items()} for place, s in states.items()}))

    watched, unwatched = trained(members, data, made, keep), trained(members, data, made)
    assert all(same(one, other) for one, other in zip(watched, unwatched, strict=True))
    trained(members, data, made, states=list(kept[0][0].values()))
    assert [len(states) for states, _ in kept] == [5, 5, 0]
    for states, copies in kept:
        for place, state in states.items():
            assert all(torch.equal(tensor, copies[place][name]) for name, tensor in state.items())


@pytest.mark.parametrize("epoch", [1, 2])
@settings(max_examples=2, deadline=None)
@example([[0, 1, 2, 3, 4]], [[4, 2], [0], [3, 1]])
@given(partitions(), partitions())
def test_trainings_go_on_in_other_groups(trained, members, data, recipe, double, alone, epoch, before, after):
    made = recipe(normalise="standardise", **RICH)
    with double():
        states = {}
        for group in before:
            found = states_after([members[place] for place in group], in_double(data), made, epoch)
            states |= {group[row]: state for row, state in found.items()}
        for group in after:
            results = trained(
                [members[place] for place in group], in_double(data), made, states=[states[place] for place in group]
            )
            for place, one in zip(group, results, strict=True):
                close(one, alone("standardise")[place])


def test_only_those_in_training_have_a_state(trained, eventful, eventful_alone, double):
    """By their places; they go on without those that left."""
    members, data, made, _ = eventful
    with double():
        states = states_after(members, data, made, 2)
        left = [place for place, one in enumerate(eventful_alone) if len(one.losses) > 2]
        assert list(states) == left
        assert 0 < len(left) < 4
        results = trained([members[place] for place in left], data, made, states=list(states.values()))
        for place, one in zip(left, results, strict=True):
            close(one, eventful_alone[place])


def test_states_of_different_epochs_do_not_go_together(trained, members, data, recipe):
    made = recipe(**RICH)
    states = [states_after([member], data, made, epoch)[0] for epoch, member in ((1, members[0]), (2, members[1]))]
    with pytest.raises(ValueError, match="too many values"):
        trained(members[:2], data, made, states=states)


# --- how many together ------------------------------------------------------------------------------------------------


class Elsewhere:
    """Inputs that note where they are sent."""

    def __init__(self):
        self.devices = []

    def to(self, device):
        self.devices.append(device)
        return self


def measured(monkeypatch, seconds, most=math.inf):
    """Let an epoch of a group take `seconds(size)`, with memory for `most`; return which sizes were measured."""
    sizes = []

    def epoch_seconds(replicas, inputs, recipe):
        assert inputs.devices == [torch.device("meta")]
        assert recipe == "recipe"
        assert list(replicas) == list(range(len(replicas)))
        sizes.append(len(replicas))
        if len(replicas) > most:
            raise torch.OutOfMemoryError
        return seconds(len(replicas))

    monkeypatch.setattr("nas_mer.train.group._epoch_seconds", epoch_seconds)
    return sizes


@given(
    st.integers(1, 300),
    st.integers(0, 300),
    st.floats(0.01, 10),
    st.floats(0, 10),
    st.floats(0, 1),
)
@example(100, 1000, 1.0, 0.1, 0.0)  # more are always quicker
@example(100, 0, 1.0, 0.1, 0.0)  # not even one fits
@example(100, 1000, 0.01, 1.0, 0.5)  # one is quickest
@example(64, 40, 16.0, 0.0, 0.3)  # too many for the memory, and then the quickest in the middle
def test_the_quickest_size_of_those_that_fit_is_taken(count, most, fixed, each, crowding):
    """Of all, half, a quarter, and so on."""

    def seconds(size):
        return fixed + each * size + crowding * size**2

    sizes = [count >> halvings for halvings in range(count.bit_length())]
    with pytest.MonkeyPatch.context() as monkeypatch:
        tried = measured(monkeypatch, seconds, most)
        found = quickest_group(range(count), Elsewhere(), "recipe", torch.device("meta"))
    assert tried == sizes[: len(tried)]
    assert tried or count == 1
    costs = {size: seconds(size) / size for size in sizes if size <= most}
    assert found == 1 if not costs else costs[found] == pytest.approx(min(costs.values()))


def test_nothing_is_measured_once_fewer_are_slower(monkeypatch):
    """Measuring costs time itself."""
    tried = measured(monkeypatch, lambda size: 1.0)
    assert quickest_group(range(100), Elsewhere(), "recipe", torch.device("meta")) == 100
    assert tried == [100, 50]


def test_one_is_not_measured(monkeypatch):
    tried = measured(monkeypatch, lambda size: 1.0)
    assert quickest_group(range(1), Elsewhere(), "recipe", torch.device("meta")) == 1
    assert not tried


def test_on_a_cpu_each_is_trained_alone(monkeypatch, members, data, recipe):
    made = recipe()
    tried = measured(monkeypatch, lambda size: 1.0)
    assert quickest_group(members, Inputs.of(data, made.normalise), made, torch.device("cpu")) == 1
    assert not tried


@pytest.mark.parametrize(
    "changes",
    [
        {"epochs": 1},
        {"stop_loss": 1e6},
        {"optimizer": {"learning_rate": 1e38}},
    ],
)
def test_epochs_are_measured_however_the_trainings_end(replica, data, recipe, changes):
    """Even where one epoch ends them all."""
    made = recipe(augment={}, **changes)
    seconds = _epoch_seconds([replica, replace(replica, seed=1)], Inputs.of(data, made.normalise), made)
    assert 0 <= seconds < math.inf

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight

from nas_mer.nn import Network
from nas_mer.train import Replica, train
from nas_mer.train.batches import Normaliser
from nas_mer.train.replica import _class_weights
from nas_mer.train.streams import stream, stream_seed
from nas_mer.workers import each

TRAIN, TEST = np.arange(6, 30), np.arange(6)


@pytest.fixture
def replica(space):
    """A network with every kind of part: wide, shortcut, attention, shared weights."""
    genotype = space.genotype("rcn-f")
    return Replica(genotype.digest, space.freeze(genotype), "smic/s01", TRAIN, TEST, 0)


def run(replica, data, recipe):
    return train(replica, lambda epoch: None, data, recipe)


def same(one, other):
    """Whether two trainings gave the same, bit for bit."""
    return (
        np.array_equal(one.logits, other.logits)
        and one.losses == other.losses
        and one.weights.keys() == other.weights.keys()
        and all(torch.equal(one.weights[name], other.weights[name]) for name in one.weights)
    )


def test_training_learns_what_can_be_learned(replica, data, recipe):
    trained = run(replica, data, recipe(epochs=25, augment={}))
    assert len(trained.losses) == 25
    assert np.mean(trained.losses[-3:]) < 0.7 * trained.losses[0]
    assert (trained.logits.argmax(axis=1) == data.labels.numpy()[TEST]).sum() >= 5


def test_training_is_sgd_in_a_loop(space, data, recipe):
    """Against the same written plainly, with another optimiser code and memory layout (no dropout or augmentation)."""
    space = space.with_parameters(dropout=0.0)
    genotype = space.genotype("rcn-c")
    chosen = np.delete(TRAIN, [0, 3, 6, 9])  # classes of unequal size
    replica = Replica(genotype.digest, space.freeze(genotype), "smic/s01", chosen, TEST, 0)
    settings = recipe(
        epochs=4,
        augment={},
        optimizer={"learning_rate": 0.02, "momentum": 0.8, "weight_decay": 1e-2, "nesterov": True},
        schedule={"kind": "step", "every": 2, "factor": 0.1},
        balance=True,
        label_smoothing=0.1,
    )
    about = (0, genotype.digest, "smic/s01")
    maps, labels = data.maps[chosen], data.labels[chosen]
    mean, deviation = maps.mean((0, 2, 3), keepdim=True), maps.std((0, 2, 3), keepdim=True)
    class_weights = compute_class_weight("balanced", classes=np.arange(3), y=labels.numpy())
    torch.manual_seed(stream_seed(*about, "network"))
    network = Network(replica.graph)
    optimizer = torch.optim.SGD(network.parameters(), 0.02, 0.8, weight_decay=1e-2, nesterov=True, foreach=False)
    criterion = torch.nn.CrossEntropyLoss(torch.from_numpy(class_weights).float(), label_smoothing=0.1)
    order = stream(*about, "order")
    losses = []
    for epoch in range(4):
        optimizer.param_groups[0]["lr"] = 0.02 if epoch < 2 else 0.002
        total = 0.0
        indices = torch.randperm(20, generator=order)
        for batch in (indices[:8], indices[8:16], indices[16:]):
            loss = criterion(network((maps[batch] - mean) / deviation), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(batch)
        losses.append(total / 20)
    network.eval()
    with torch.no_grad():
        logits = network((data.maps[TEST] - mean) / deviation).numpy()

    trained = run(replica, data, settings)
    np.testing.assert_allclose(trained.losses, losses, rtol=1e-4)
    np.testing.assert_allclose(trained.logits, logits, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("normalise", ["standardise", "stretch", "none"])
def test_the_held_out_subject_has_no_say(replica, data, recipe, normalise):
    """Other maps and labels there, even none: the same network, bit for bit."""
    made = recipe(normalise=normalise, epochs=2, stop_loss=0.01, balance=True)
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


def test_a_result_depends_on_seed_genotype_and_fold_alone(replica, data, recipe):
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


def test_training_changes_no_map(replica, data, recipe):
    maps = data.maps.clone()
    run(replica, data, recipe(epochs=1))
    assert torch.equal(data.maps, maps)


def test_every_epoch_is_reported(replica, data, recipe):
    heard = []
    train(replica, heard.append, data, recipe(epochs=4))
    assert heard == [1, 2, 3, 4]


def test_training_stops_at_the_loss_it_was_told(replica, data, recipe):
    losses = run(replica, data, recipe(epochs=12, augment={})).losses
    limit = sorted(losses)[4]
    stopped = run(replica, data, recipe(epochs=12, augment={}, stop_loss=limit)).losses
    first = next(epoch for epoch, loss in enumerate(losses) if loss <= limit)
    assert first < 11
    assert stopped == losses[: first + 1]


def test_a_training_that_diverges_says_so(replica, data, recipe):
    trained = run(replica, data, recipe(epochs=30, optimizer={"learning_rate": 1e20}))
    epoch = len(trained.losses)
    assert trained.failure == f"seed 0, fold smic/s01: the training loss became {trained.losses[-1]} in epoch {epoch}"
    assert np.isfinite(trained.losses[:-1]).all()
    assert not np.isfinite(trained.losses[-1])
    assert trained.logits.shape == (0, 3)
    assert not trained.weights


def test_a_network_that_breaks_in_its_last_step_says_so(replica, data, recipe):
    """The loss is measured before the step: here it never sees what the step did."""
    trained = run(replica, data, recipe(epochs=1, batch_size=24, optimizer={"learning_rate": 1e38}))
    assert np.isfinite(trained.losses).all()
    assert trained.failure == "seed 0, fold smic/s01: the network's outputs are not finite after epoch 1"
    assert trained.logits.shape == (0, 3)


def test_class_weights_are_those_of_scikit_learn():
    labels = np.array([0, 0, 0, 1, 2, 2, 0])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    np.testing.assert_allclose(_class_weights(torch.from_numpy(labels), 3), expected)


def test_an_absent_class_has_no_weight():
    weights = _class_weights(torch.tensor([0, 0, 2, 2, 2]), 4)
    torch.testing.assert_close(weights, torch.tensor([5 / 8, 0, 5 / 12, 0]))


@pytest.mark.parametrize("normalise", ["standardise", "stretch", "none"])
def test_weights_rebuild_the_network(replica, data, recipe, normalise):
    trained = run(replica, data, recipe(normalise=normalise, epochs=1))
    weights = dict(trained.weights)
    normaliser = Normaliser(weights.pop("normaliser.mean", None), weights.pop("normaliser.scale", None))
    assert (normaliser.mean is None) == (normalise == "stretch")
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


def test_augmentation_changes_training_and_nothing_else_draws_from_it(replica, data, recipe):
    """A flip of a map that is its own mirror image changes nothing, so it has to give what no flip gives."""
    plain, flip, shift = (run(replica, data, recipe(augment=augment)) for augment in ({}, {"flip": 0.5}, {"shift": 1}))
    assert plain.losses != flip.losses != shift.losses != plain.losses
    maps = data.maps + data.maps.flip(3)
    maps[:, 0] = 0.0
    symmetric = replace(data, maps=maps)
    none = recipe(augment={}, normalise="none")
    assert same(run(replica, symmetric, none), run(replica, symmetric, recipe(augment={"flip": 0.5}, normalise="none")))


def test_any_number_of_workers_gives_the_same(replica, data, recipe):
    replicas = [replica, replace(replica, fold="b"), replace(replica, seed=1)]
    found = {}
    for workers in (1, 2, 3):
        results = {(r.fold, r.seed): trained for r, trained in each(train, replicas, (data, recipe(epochs=2)), workers)}
        assert results.keys() == {("smic/s01", 0), ("b", 0), ("smic/s01", 1)}
        found[workers] = results
    for about, alone in found[1].items():
        for workers in (2, 3):
            beside = found[workers][about]
            assert np.array_equal(alone.logits, beside.logits)
            assert alone.losses == beside.losses
            assert alone.weights.keys() == beside.weights.keys()
            assert all(torch.equal(alone.weights[name], beside.weights[name]) for name in alone.weights)

"""Hand-written back-propagation against torch's autograd; update rules against torch.optim."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from scratchlab.estimators.losses import logistic_loss, softmax_cross_entropy, squared_error
from scratchlab.estimators.mlp import MLPClassifier, MLPRegressor
from scratchlab.estimators.network import Network
from scratchlab.estimators.update_rules import make_rule

ACTIVATIONS = {"relu": torch.relu, "tanh": torch.tanh, "sigmoid": torch.sigmoid}
HIDDEN = {0: [], 1: [7], 2: [7, 5], 3: [7, 5, 6]}


def torch_gradients(network: Network, X: np.ndarray, targets: np.ndarray, kind: str):
    """Loss and gradients of the same network written with torch operations."""
    weights = [torch.tensor(W, requires_grad=True) for W in network.weights]
    biases = [torch.tensor(b, requires_grad=True) for b in network.biases]
    A = torch.tensor(X)
    for number, (W, b) in enumerate(zip(weights, biases, strict=True)):
        A = A @ W + b
        if number < len(weights) - 1:
            A = ACTIVATIONS[network.activation](A)
    if kind == "softmax":
        loss = torch.nn.functional.cross_entropy(A, torch.tensor(targets))
    elif kind == "sigmoid":
        loss = torch.nn.functional.binary_cross_entropy_with_logits(
            A[:, 0], torch.tensor(targets, dtype=torch.float64)
        )
    else:
        loss = 0.5 * ((A - torch.tensor(targets)) ** 2).sum(1).mean()
    penalty = 0.5 * network.l2 * sum((W**2).sum() for W in weights)
    (loss + penalty).backward()
    flat = [W.grad.numpy().ravel() for W in weights] + [b.grad.numpy() for b in biases]
    return loss.item(), np.concatenate(flat)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("depth", HIDDEN)
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_gradients_equal_autograds_to_1e_8(activation: str, depth: int, task: str) -> None:
    rng = np.random.default_rng(3)
    X = rng.normal(size=(23, 6))
    options = {
        "hidden": HIDDEN[depth],
        "activation": activation,
        "dtype": "float64",
        "l2": 0.03,
        "random_state": 1,
    }
    if task == "classification":
        y = rng.integers(0, 4, 23)
        y[:4] = range(4)
        model = MLPClassifier(**options).start(X, y)
        targets, kind = y, "softmax"
    else:
        y = rng.normal(size=(23, 2))
        model = MLPRegressor(**options, scale_target=False).start(X, y)
        targets, kind = y, "squared"
    network = model.network_
    network.theta += 0.1 * rng.normal(size=network.theta.size)  # no bias left at zero
    loss, _ = network.loss_and_gradient(X, targets)
    wanted_loss, wanted = torch_gradients(network, X, targets, kind)
    assert loss == pytest.approx(wanted_loss, abs=1e-12)
    assert np.abs(network.gradient).max() > 1e-3
    assert np.abs(network.gradient - wanted).max() < 1e-8


def test_gradients_of_a_short_batch_in_larger_buffers_are_the_same() -> None:
    rng = np.random.default_rng(0)
    network = Network([5, 8, 3], "tanh", softmax_cross_entropy, 0.1, np.float64)
    network.initialise(rng)
    X, t = rng.normal(size=(9, 5)), rng.integers(0, 3, 9)
    network.loss_and_gradient(X, t)
    alone = network.gradient.copy()
    network.loss_and_gradient(rng.normal(size=(40, 5)), rng.integers(0, 3, 40))
    network.loss_and_gradient(X, t)
    assert np.array_equal(network.gradient, alone)


def test_the_two_class_loss_has_autograds_gradient() -> None:
    rng = np.random.default_rng(5)
    network = Network([4, 1], "relu", logistic_loss, 0.2, np.float64)
    network.theta[:] = rng.normal(size=5)
    X, t = rng.normal(size=(30, 4)), rng.integers(0, 2, 30)
    loss, _ = network.loss_and_gradient(X, t)
    wanted_loss, wanted = torch_gradients(network, X, t, "sigmoid")
    assert loss == pytest.approx(wanted_loss, abs=1e-12)
    assert np.abs(network.gradient - wanted).max() < 1e-10


def test_losses_stay_finite_for_huge_outputs() -> None:
    Z = np.array([[1e4, -1e4, 0.0], [-1e4, 1e4, 5.0]])
    loss, hits = softmax_cross_entropy(Z, np.array([0, 0]))
    assert (loss, hits) == (1e4, 1)
    assert np.allclose(Z, [[0, 0, 0], [-0.5, 0.5, 0]])
    Z = np.array([[1e4], [-1e4]])
    loss, hits = logistic_loss(Z, np.array([0, 0]))
    assert (loss, hits) == (5e3, 1)
    Z = np.array([[3.0, 1.0]])
    assert squared_error(Z, np.array([[1.0, 0.0]])) == (2.5, 0)


def test_float32_learning_stays_close_to_float64() -> None:
    rng = np.random.default_rng(2)
    X, y = rng.normal(size=(200, 10)), rng.integers(0, 3, 200)
    losses = [
        MLPClassifier(hidden=[16], epochs=5, dtype=dtype).fit(X, y).history_[-1]["loss"]
        for dtype in ("float32", "float64")
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert MLPClassifier(epochs=1).fit(X, y).network_.theta.dtype == np.float32


@pytest.mark.parametrize("name", ["sgd", "momentum", "adam"])
def test_update_rules_make_the_steps_of_torchs_optimizers(name: str) -> None:
    rng = np.random.default_rng(1)
    theta = rng.normal(size=12)
    parameter = torch.nn.Parameter(torch.tensor(theta))
    optimizer: torch.optim.Optimizer = {
        "sgd": lambda: torch.optim.SGD([parameter], lr=0.05),
        "momentum": lambda: torch.optim.SGD([parameter], lr=0.05, momentum=0.8),
        "adam": lambda: torch.optim.Adam([parameter], lr=0.05, betas=(0.8, 0.99)),
    }[name]()
    rule = make_rule(name, 12, np.dtype(np.float64), momentum=0.8, beta2=0.99)
    for _ in range(20):
        gradient = rng.normal(size=12)
        parameter.grad = torch.tensor(gradient)
        optimizer.step()
        rule.step(theta, gradient, 0.05)
    assert np.abs(theta - parameter.detach().numpy()).max() < 1e-12

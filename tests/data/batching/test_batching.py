"""Batches are a pure function of their arguments, hold everything once, and pad little."""

from __future__ import annotations

import numpy as np
import pytest

from scratchlab.data.batching.plans import Ragged, padding_share, plan_batches
from scratchlab.random_streams import generator


def lengths(count: int = 3000) -> tuple[np.ndarray, np.ndarray]:
    """Lengths like those of sentences and of their translations."""
    random = generator(11)
    source = 4 + random.poisson(9, count)
    return source, np.maximum(2, source + random.integers(-3, 5, count))


@pytest.mark.parametrize("shuffle", [None, (0, 0), (7, 3)])
@pytest.mark.parametrize("pool_size", [100, 5000])
def test_every_example_is_in_exactly_one_batch(
    shuffle: tuple[int, int] | None, pool_size: int
) -> None:
    source, target = lengths()
    plan = plan_batches(source, target, batch_tokens=400, shuffle=shuffle, pool_size=pool_size)
    rows = np.concatenate([plan[i] for i in range(len(plan))])
    assert sorted(rows.tolist()) == list(range(len(source)))


@pytest.mark.parametrize("shuffle", [None, (0, 0)])
def test_no_batch_is_larger_than_allowed_and_none_could_be_much_smaller(
    shuffle: tuple[int, int] | None,
) -> None:
    source, target = lengths()
    plan = plan_batches(source, target, batch_tokens=600, shuffle=shuffle, pool_size=5000)
    sizes = [
        len(plan[i]) * (source[plan[i]].max() + target[plan[i]].max()) for i in range(len(plan))
    ]
    assert max(sizes) <= 600
    assert np.mean(sizes) > 0.9 * 600


def test_an_example_beyond_the_limit_is_a_batch_of_its_own() -> None:
    plan = plan_batches(np.array([3, 500, 4]), np.array([3, 500, 4]), batch_tokens=20)
    assert [plan[i].tolist() for i in range(len(plan))] == [[0, 2], [1]]


def test_training_batches_depend_on_seed_and_epoch_and_nothing_else() -> None:
    source, target = lengths()

    def plan(seed: int, epoch: int) -> list[list[int]]:
        made = plan_batches(source, target, batch_tokens=500, shuffle=(seed, epoch), pool_size=1000)
        return [made[i].tolist() for i in range(len(made))]

    assert plan(1, 2) == plan(1, 2)
    assert plan(1, 2) != plan(1, 3)
    assert plan(1, 2) != plan(2, 2)
    assert plan(1, 2) != plan(2, 1)


def test_shuffled_batches_do_not_come_in_order_of_length() -> None:
    source, target = lengths()
    plan = plan_batches(source, target, batch_tokens=500, shuffle=(0, 0), pool_size=5000)
    means = [target[plan[i]].mean() for i in range(len(plan))]
    assert abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.4


def test_sorting_leaves_little_padding_and_random_batches_much() -> None:
    source, target = lengths(20_000)
    sorted_plan = plan_batches(source, target, batch_tokens=2000, shuffle=(0, 0), pool_size=20_000)
    random_plan = plan_batches(source, target, batch_tokens=2000, shuffle=(0, 0), pool_size=1)
    by_pool = plan_batches(source, target, batch_tokens=2000, shuffle=(0, 0), pool_size=2000)
    shares = [padding_share(p, source, target) for p in (sorted_plan, by_pool, random_plan)]
    assert shares[0] < 0.03
    assert shares[0] < shares[1] < shares[2]


def test_padding_share_counts_both_sides() -> None:
    plan = plan_batches(np.array([2, 4]), np.array([3, 3]), batch_tokens=100)
    assert padding_share(plan, np.array([2, 4]), np.array([3, 3])) == pytest.approx(2 / 14)


def test_padded_rows_have_their_marks_and_their_padding_at_the_end() -> None:
    ragged = Ragged.of([[5, 6], [], [7]])
    assert ragged.padded(1, first=2).tolist() == [[2, 5, 6], [2, 1, 1], [2, 7, 1]]
    assert ragged.padded(1, last=3).tolist() == [[5, 6, 3], [3, 1, 1], [7, 3, 1]]
    assert ragged.padded(1).tolist() == [[5, 6], [1, 1], [7, 1]]


def test_sequences_are_taken_in_any_order_and_shortened() -> None:
    ragged = Ragged.of([[5, 6, 8], [], [7]])
    some = ragged.where(np.array([True, True, False]))
    assert [some[i] for i in range(len(some))] == [[5, 6, 8], []]
    taken = ragged.take(np.array([2, 0, 0, 1]))
    assert [taken[i] for i in range(len(taken))] == [[7], [5, 6, 8], [5, 6, 8], []]
    short = taken.shortened(2)
    assert [short[i] for i in range(len(short))] == [[7], [5, 6], [5, 6], []]
    assert ragged.shortened(3) is ragged

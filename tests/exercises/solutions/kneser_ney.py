"""Exercise kneser_ney: modified Kneser-Ney discounting."""

import numpy as np


def continuation_counts(lefts, rights, n_words):
    seen = np.zeros((n_words, n_words), dtype=bool)
    seen[lefts, rights] = True
    return seen.sum(axis=0)
    # instead (words after it): return seen.sum(axis=1)
    # instead (how often it occurs): return np.array([(rights == w).sum() for w in range(n_words)])


def discounts(counts):
    n1, n2, n3, n4 = (np.count_nonzero(counts == k) for k in (1, 2, 3, 4))
    # instead (counts in place of their number): n1, n2, n3, n4 = (counts[counts == k].sum() for k in (1, 2, 3, 4))
    y = n1 / (n1 + 2 * n2)
    # instead (n_2 once): y = n1 / (n1 + n2)
    return np.array([1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3])
    # instead (one discount for all): return np.array([y, y, y])
    # instead (k in place of k + 1): return np.array([1 - y * n2 / n1, 2 - 2 * y * n3 / n2, 3 - 3 * y * n4 / n3])


def interpolate(counts, contexts, below, d, n_contexts):
    lost = np.where(counts == 1, d[0], np.where(counts == 2, d[1], d[2]))
    # instead (one discount for all): lost = np.full(len(counts), d[0])
    total, freed = np.zeros(n_contexts), np.zeros(n_contexts)
    np.add.at(total, contexts, counts)
    np.add.at(freed, contexts, lost)
    # instead (γ from D1 times the kinds): np.add.at(freed, contexts, d[0])
    gamma = np.where(total > 0, freed / np.maximum(total, 1), 1.0)
    # instead (γ of an empty context is 0): gamma = freed / np.maximum(total, 1)
    return (counts - lost) / total[contexts] + gamma[contexts] * below, gamma
    # instead (γ left out): return (counts - lost) / total[contexts] + below, gamma
    # instead (backs off): return (counts - lost) / total[contexts], gamma
    # instead (nothing taken off): return counts / total[contexts] + gamma[contexts] * below, gamma
    # instead (divided by all counts): return (counts - lost) / counts.sum() + gamma[contexts] * below, gamma

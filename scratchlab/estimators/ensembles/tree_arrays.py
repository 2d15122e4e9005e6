"""Decision trees as plain arrays: to save them without pickle and to predict from them in NumPy.

scikit-learn grows the trees; what they have learned is, for each node, a feature, a threshold, two
children and a value. All trees of a model lie one behind the other in the same arrays, and all of
them are walked at once: one step down for every pair of row and tree.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from scratchlab.estimators.protocol import State

_PAIRS = 1 << 18  # pairs of row and tree walked at a time


@dataclass(frozen=True)
class TreeArrays:
    """Nodes of one or more trees; a leaf is its own child on both sides.

    feature [nodes], threshold [nodes] (left where x ≤ threshold), left and right [nodes],
    missing_left [nodes] (where a missing value goes), value [nodes, outputs], root [trees],
    depth [] (longest path).
    """

    feature: np.ndarray
    threshold: np.ndarray
    left: np.ndarray
    right: np.ndarray
    missing_left: np.ndarray
    value: np.ndarray
    root: np.ndarray
    depth: np.ndarray

    def get_state(self) -> State:
        return dict(vars(self))

    @classmethod
    def from_state(cls, state: State) -> TreeArrays:
        found = cls(**{f.name: np.asarray(state[f.name]) for f in fields(cls)})
        nodes = len(found.feature)
        for name in ("left", "right", "root", "depth"):
            places = vars(found)[name]
            most = nodes if name == "depth" else nodes - 1
            if places.dtype.kind not in "iu" or places.min() < 0 or places.max() > most:
                raise ValueError(f"{name} leads out of the trees")
        return found

    def leaves(self, X: np.ndarray) -> np.ndarray:
        """The leaf that each row ends in, for each tree: node numbers [rows, trees]."""
        found = np.empty((len(X), len(self.root)), dtype=np.int32)
        step = max(1, _PAIRS // len(self.root))
        for start in range(0, len(X), step):
            part = X[start : start + step]
            rows = np.arange(len(part))[:, None]
            node = np.broadcast_to(self.root, (len(part), len(self.root)))
            for _ in range(self.depth.item()):
                x = part[rows, self.feature[node]]
                go_left = (x <= self.threshold[node]) | (np.isnan(x) & self.missing_left[node])
                node = np.where(go_left, self.left[node], self.right[node])
            found[start : start + step] = node
        return found

    def total(self, X: np.ndarray, start: np.ndarray) -> np.ndarray:
        """``start`` [outputs] plus the values of all trees in their order, [rows, outputs]."""
        total = np.repeat(np.atleast_2d(start).astype(np.float64), len(X), axis=0)
        for leaves in self.leaves(X).T:
            total += self.value[leaves]
        return total


def from_forest(trees: list[Any]) -> TreeArrays:
    """The arrays of fitted ``sklearn.tree`` estimators (single output)."""
    parts: list[dict[str, np.ndarray]] = []
    for estimator in trees:
        tree = estimator.tree_
        leaf = tree.children_left < 0
        own = np.arange(tree.node_count)
        parts.append(
            {
                "feature": np.where(leaf, 0, tree.feature),
                "threshold": tree.threshold,
                "left": np.where(leaf, own, tree.children_left),
                "right": np.where(leaf, own, tree.children_right),
                "missing_left": tree.missing_go_to_left.astype(bool),
                "value": tree.value[:, 0, :],
            }
        )
    return _join(parts, max(e.tree_.max_depth for e in trees))


def from_boosting(predictors: list[list[Any]]) -> tuple[TreeArrays, np.ndarray]:
    """The arrays of a histogram boosting model's trees, and each node's gain with its feature.

    ``predictors`` [rounds][outputs]: each tree adds to one output only, so its values are zero in
    the other columns. Returns the trees and gains [nodes, 2] of (feature, gain), leaves excluded.
    """
    parts, gains, depth = [], [], 0
    for one_round in predictors:
        for output, predictor in enumerate(one_round):
            nodes = predictor.nodes
            leaf = nodes["is_leaf"].astype(bool)
            own = np.arange(len(nodes))
            value = np.zeros((len(nodes), len(one_round)))
            value[:, output] = nodes["value"]
            parts.append(
                {
                    "feature": np.where(leaf, 0, nodes["feature_idx"]),
                    "threshold": nodes["num_threshold"],
                    "left": np.where(leaf, own, nodes["left"]),
                    "right": np.where(leaf, own, nodes["right"]),
                    "missing_left": nodes["missing_go_to_left"].astype(bool),
                    "value": value,
                }
            )
            gains.append(np.column_stack([nodes["feature_idx"], nodes["gain"]])[~leaf])
            depth = max(depth, int(nodes["depth"].max()))
    return _join(parts, depth), np.concatenate(gains)


def _join(parts: list[dict[str, np.ndarray]], depth: int) -> TreeArrays:
    sizes = [len(part["feature"]) for part in parts]
    roots = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    for part, root in zip(parts, roots, strict=True):
        part["left"] = part["left"] + root
        part["right"] = part["right"] + root
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    for name in ("feature", "left", "right"):
        joined[name] = joined[name].astype(np.int32)
    return TreeArrays(**joined, root=roots.astype(np.int32), depth=np.array(depth))

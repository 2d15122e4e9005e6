"""Members of an ensemble: built from a description, saved as part of the whole.

A description is what a configuration can say: ``{"name": "mlp", "hidden": [64]}``, a
registered estimator and those of its options that differ from the defaults. In Python an unfitted
estimator object serves as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, clone

from scratchlab.config.schema import check_options
from scratchlab.errors import suggest
from scratchlab.estimators.protocol import InputError, Saveable, State
from scratchlab.estimators.state import below_prefix, with_prefix
from scratchlab.registry import parts


def build_member(described: Any, where: str, task: str, seed: int) -> Any:
    """A new estimator from a description; its ``random_state``, if it has one, is ``seed``.

    ``where`` names the option in messages. InputError for an unknown name or option, a value out of
    range, or an estimator for another task.
    """
    if isinstance(described, BaseEstimator):
        member = clone(described)
    elif isinstance(described, Mapping) and isinstance(described.get("name"), str):
        member = _from_options(dict(described), where, task)
    else:
        raise InputError(
            f"{where}={described!r} describes no estimator",
            "write {name: NAME, OPTION: VALUE, …}",
        )
    if "random_state" in member.get_params(deep=False):
        member.set_params(random_state=seed)
    return member


def _from_options(options: dict[str, Any], where: str, task: str) -> Any:
    name = options.pop("name")
    known = {n: p for n, p in parts("estimator").items() if task in p.facts.get("tasks", ())}
    if name not in known:
        raise InputError(f"{where}.name={name!r} is no estimator for {task}", suggest(name, known))
    complete, faults = check_options(where, options, known[name].options)
    if faults:
        raise InputError("; ".join(str(fault) for fault in faults))
    return known[name].load()(**complete)


def members_to_state(members: Mapping[str, Any]) -> State:
    """The states of all members under their labels."""
    state: State = {}
    for label, member in members.items():
        if not isinstance(member, Saveable):
            raise InputError(
                f"the member {label!r}, a {type(member).__module__}.{type(member).__qualname__}, "
                "cannot be saved as arrays",
                "use a registered estimator (scratchlab list)",
            )
        state |= with_prefix(f"members.{label}", member.get_state())
    return state


def member_from_state(member: Any, label: str, state: State) -> Any:
    """Give a newly built member its fitted state back."""
    own = below_prefix(f"members.{label}", state)
    if not own:
        raise InputError(f"the saved state holds no member {label!r}")
    member.set_state(own)
    return member


def class_shares(member: Any, X: np.ndarray, classes: np.ndarray, soft: bool) -> np.ndarray:
    """Probabilities [rows, classes] of a member, or one-hot votes where ``soft`` is off.

    A member that has seen only some of the classes gets zero columns for the others.
    """
    shares = np.zeros((len(X), len(classes)))
    if soft:
        shares[:, np.searchsorted(classes, member.classes_)] = member.predict_proba(X)
    else:
        shares[np.arange(len(X)), np.searchsorted(classes, member.predict(X))] = 1
    return shares

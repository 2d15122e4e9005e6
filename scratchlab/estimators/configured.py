"""Constructors from the options that a class declares, so that they are listed once."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any, Self

from scratchlab.errors import UserError, suggest


class Configured:
    """Base of estimators: every option of the nested ``Config`` is a parameter of the constructor,
    with its default, and an attribute of the same name (scikit-learn's contract).

    A list is a tuple as a default, since defaults are shared.
    """

    _parameters: inspect.Signature

    def __init_subclass__(cls, **facts: Any) -> None:
        super().__init_subclass__(**facts)
        if "Config" in cls.__dict__ and "__init__" not in cls.__dict__:
            cls._parameters = _signature(cls.__dict__["Config"])
            cls.__init__ = _constructor(cls._parameters)  # type: ignore[method-assign]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The options as given to the constructor."""
        return {name: self.__dict__[name] for name in list(self._parameters.parameters)[1:]}

    def set_params(self, **params: Any) -> Self:
        """Change options; they take effect at the next ``fit``."""
        known = self.get_params()
        for name, value in params.items():
            if name not in known:
                raise UserError(
                    f"{type(self).__name__} has no option {name!r}", suggest(name, known)
                )
            setattr(self, name, value)
        return self


def _signature(config: Any) -> inspect.Signature:
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter("self", kind)]
    for field in dataclasses.fields(config):
        default = field.default
        if field.default_factory is not dataclasses.MISSING:
            made = field.default_factory()
            default = tuple(made) if isinstance(made, list) else made
        parameters.append(inspect.Parameter(field.name, kind, default=default))
    return inspect.Signature(parameters)


def _constructor(signature: inspect.Signature) -> Any:
    def __init__(*args: Any, **options: Any) -> None:
        bound = signature.bind(*args, **options)
        bound.apply_defaults()
        values = dict(bound.arguments)
        vars(values.pop("self")).update(values)

    __init__.__signature__ = signature  # type: ignore[attr-defined]
    return __init__

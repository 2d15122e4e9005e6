"""Exercise: nucleus sampling."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from scratchlab.exercises.contract import (
    Case,
    Exercise,
    Functions,
    Mistake,
    Replacement,
    Timed,
)
from scratchlab.exercises.looking import case
from scratchlab.registry import register

START = '''\
"""Exercise nucleus: nucleus sampling.

Holtzman et al. 2020, "The Curious Case of Neural Text Degeneration", section 3.1. The next token is
drawn from the nucleus: the fewest tokens, the most probable first, whose probabilities add up to at
least top_p. Those of the others become 0, and what is left is made to add up to 1 again. Before all
that the logits are divided by a temperature.
"""

import numpy as np


def nucleus(logits, top_p, temperature):
    """logits [V] → probabilities [V], in the same order, 0 outside the nucleus. 0 < top_p ≤ 1,
    temperature > 0. The argument logits stays as it is."""
    raise NotImplementedError


def draw(probabilities, u):
    """A token (a whole number) from a random number 0 ≤ u < 1: the first whose cumulative
    probability is greater than u. A token of probability 0 is never drawn, not even where rounding
    lets all probabilities add up to a little less than u."""
    raise NotImplementedError
'''


def plain_nucleus(wrong: frozenset[str], logits: Any, top_p: float, temperature: float) -> Any:
    """The nucleus, with mistakes in it."""
    scaled = logits if "temperature left out" in wrong else logits / temperature
    if "multiplied by the temperature" in wrong:
        scaled = logits * temperature
    shift = 0.0 if "no maximum subtracted" in wrong else scaled.max()
    p = np.exp(scaled - shift)
    p = p / p.sum()
    order = np.argsort(-p, kind="stable")
    mass = np.cumsum(p[order])
    before = mass - p[order]
    if "the crossing token left out" in wrong:
        inside = (mass <= top_p) | (np.arange(len(p)) == 0)
    elif "a threshold for each token" in wrong:
        inside = p[order] >= 1 - top_p
    else:
        inside = before < top_p
    if "the least probable kept" in wrong:
        order = order[::-1]
        mass = np.cumsum(p[order])
        inside = mass - p[order] < top_p
    kept = np.where(inside, p[order], 0.0)
    if "not normalised again" not in wrong:
        with np.errstate(invalid="ignore"):
            kept = kept / kept.sum()
    if "left in sorted order" in wrong:
        return kept
    found = np.zeros_like(p)
    found[order] = kept
    return found


def plain_draw(wrong: frozenset[str], probabilities: Any, u: float) -> int:
    if "always the most probable" in wrong:
        return int(np.argmax(probabilities))
    mass = np.cumsum(probabilities)
    if "one too far" in wrong:
        return int(np.searchsorted(mass, u, side="right")) + 1
    if "falls off the end" in wrong:
        return int(np.searchsorted(mass, u, side="right"))
    if "not less than u" in wrong:
        place = int(np.searchsorted(mass, u, side="left"))
    else:
        place = int(np.searchsorted(mass, u, side="right"))
    return min(place, int(np.flatnonzero(probabilities)[-1]))


def exact_nucleus(logits: Any, top_p: float, temperature: float) -> Any:
    """One token after the other, in exact fractions of the softmax's floats."""
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    log_p = scaled - np.logaddexp.reduce(scaled)
    p = [Fraction(float(x)) for x in np.exp(log_p)]
    kept: list[int] = []
    for token in sorted(range(len(p)), key=lambda i: -log_p[i]):
        if sum((p[i] for i in kept), Fraction(0)) >= Fraction(top_p):
            break
        kept.append(token)
    total = sum(p[i] for i in kept)
    return np.array([float(p[i] / total) if i in kept else 0.0 for i in range(len(p))])


def exact_draw(probabilities: Sequence[float], u: float) -> int:
    mass, last = 0.0, 0
    for token, p in enumerate(probabilities):
        if p > 0:
            mass, last = mass + float(p), token
            if mass > u:
                break
    return last


@register(
    "exercise",
    "nucleus",
    paper="Holtzman et al. 2020",
    with_torch=False,
    use="predict RUN decoding.top_p=0.9",
)
class NucleusSampling(Exercise):
    """Nucleus sampling (top-p)."""

    START = START
    HINTS = (
        "First the temperature, then the softmax (with the largest logit subtracted), then the "
        "cut.",
        "np.argsort(-p) is the order; np.cumsum(p[order]) the mass. The token that crosses top_p "
        "still belongs to the nucleus: look at the mass before each token, not after it.",
        "Put the kept probabilities back where they came from (found[order] = …) and divide by "
        "their sum.",
        "np.searchsorted(np.cumsum(p), u, side='right') is nearly draw; mind a u that rounding "
        "leaves above the last sum.",
    )
    MISTAKES = (
        Mistake(
            "the crossing token left out",
            "nucleus",
            "the token that brings the sum to top_p is dropped. The nucleus holds at least top_p.",
        ),
        Mistake(
            "not normalised again",
            "nucleus",
            "what is left does not add up to 1. Divide by its sum.",
        ),
        Mistake(
            "left in sorted order",
            "nucleus",
            "probabilities stand in falling order, not where their tokens stand.",
        ),
        Mistake(
            "multiplied by the temperature",
            "nucleus",
            "logits are multiplied by the temperature. They are divided by it: below 1 is surer.",
        ),
        Mistake("temperature left out", "nucleus", "the temperature does nothing."),
        Mistake(
            "a threshold for each token",
            "nucleus",
            "each probability is compared with 1 - top_p. It is their sum that reaches top_p.",
        ),
        Mistake(
            "the least probable kept",
            "nucleus",
            "the order is rising: the least probable tokens make the nucleus.",
        ),
        Mistake(
            "no maximum subtracted",
            "nucleus",
            "exp of a large logit overflows. Subtract the largest first.",
        ),
        Mistake(
            "falls off the end",
            "draw",
            "where u is greater than the last sum, which rounding leaves below 1, there is no such "
            "token. Take the last that has a probability.",
        ),
        Mistake("always the most probable", "draw", "u is not used: this is greedy."),
        Mistake("one too far", "draw", "it draws the token after the one whose share holds u."),
        Mistake(
            "not less than u",
            "draw",
            "a cumulative probability that equals u is taken, so u = 0 draws a token of "
            "probability 0. It must be greater.",
        ),
    )
    LIBRARY = ("TopPLogitsWarper", "choice", "multinomial")
    BESIDE = "plain NumPy"

    def reference(self) -> Functions:
        return {"nucleus": exact_nucleus, "draw": exact_draw}

    def fast(self) -> Functions:
        return self.plain(frozenset())

    def plain(self, wrong: frozenset[str]) -> Functions:
        return {
            "nucleus": lambda *a: plain_nucleus(wrong, *a),
            "draw": lambda *a: plain_draw(wrong, *a),
        }

    def cases(self) -> list[Case]:
        rng = np.random.default_rng(14)

        def cut(name: str, logits: Any, top_p: float, temperature: float) -> Case:
            given = (np.asarray(logits, dtype=np.float64), top_p, temperature)
            names = ("logits", "top_p", "temperature")
            return case("nucleus", name, names, given, results=("the probabilities",))

        def drawn(name: str, p: Sequence[float], u: float) -> Case:
            given = (np.array(p), u)
            return case("draw", name, ("probabilities", "u"), given, results=("the token",))

        few = np.log([0.1, 0.4, 0.05, 0.3, 0.15])
        return [
            cut("five tokens, top_p 0.8", few, 0.8, 1.0),
            cut("one token is enough", few, 0.35, 1.0),
            cut("top_p 1: all of them", few, 1.0, 1.0),
            cut("temperature 0.5", few, 0.9, 0.5),
            cut("temperature 3", few, 0.7, 3.0),
            cut("50 tokens", rng.normal(size=50) * 2, 0.95, 0.8),
            cut("one token in all", [2.5], 0.5, 1.0),
            cut("large logits", [1000.0, 999.0, -1000.0, 998.5], 0.9, 1.0),
            cut("tokens that may not follow (-inf)", [-np.inf, 1.0, 0.2, -np.inf, 0.5], 0.7, 1.0),
            drawn("the middle", [0.2, 0.5, 0.3], 0.45),
            drawn("the first", [0.2, 0.5, 0.3], 0.1),
            drawn("the last", [0.2, 0.5, 0.3], 0.95),
            drawn("u = 0, the first token has no probability", [0.0, 0.25, 0.75], 0.0),
            drawn("u is a cumulative probability", [0.25, 0.25, 0.5], 0.25),
            drawn("the sum is rounded below u", [0.1] * 10 + [0.0], 1 - 2**-53),
        ]

    def timed(self) -> Timed:
        logits = np.random.default_rng(0).normal(size=5000)
        return Timed("5,000 tokens", lambda f: f["nucleus"](logits, 0.9, 1.0))

    def refusal(self, config: Mapping[str, Any]) -> str | None:
        decoding = config.get("decoding") or {}
        if decoding.get("name") != "sampling" or config["model"]["name"] == "ngram":
            return (
                "it draws the tokens of a torch language model (model=gpt, rnn_lm, gpt2, smollm2)"
            )
        if decoding["temperature"] == 0:
            return "decoding.temperature=0 draws nothing; set it above 0"
        return None

    def replacements(self, functions: Functions) -> Iterator[Replacement]:
        """The choice of decoding=sampling; the k most probable are picked out before, if asked."""
        import torch

        from scratchlab.decoding.sampling import Sampling

        built_in = Sampling.choose

        def choose(self: Any, logits: Any, draws: Any, forbidden: Sequence[int] = ()) -> Any:
            config = self.config
            if config.temperature == 0:  # a quick look between epochs
                return built_in(self, logits, draws, forbidden)
            logits = logits.float().clone()
            if forbidden:
                logits[:, list(forbidden)] = float("-inf")
            if config.top_k is not None and config.top_k < logits.shape[1]:
                least = logits.topk(config.top_k).values[:, -1:]
                logits = logits.masked_fill(logits < least, float("-inf"))
            tokens = []
            for row, u in zip(logits.double().cpu().numpy(), draws.tolist(), strict=True):
                p = functions["nucleus"](row, config.top_p, config.temperature)
                tokens.append(int(functions["draw"](p, u)))
            return torch.tensor(tokens, device=logits.device)

        yield Replacement(Sampling, "choose", choose)

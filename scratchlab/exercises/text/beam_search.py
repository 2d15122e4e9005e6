"""Exercise: beam search."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from scratchlab.exercises.contract import (
    Case,
    Exercise,
    Functions,
    Mistake,
    Replacement,
    Timed,
    unlike,
)
from scratchlab.exercises.looking import case
from scratchlab.registry import register

START = '''\
"""Exercise beam_search: beam search with a length penalty.

Sutskever, Vinyals and Le 2014; the penalty is that of Wu et al. 2016, "Google's Neural Machine
Translation System", section 7. A search has K slots (beam_size). At each step all continuations of
the live hypotheses by one token are compared by their log-probability (the sum of those of their
tokens), and the best fill the slots that are left. One that ends in `end` is finished: it keeps its
slot for good, so there is one slot less for the live ones. The search is over when no hypothesis is
alive. Finished hypotheses are ranked by

    score = log-probability / ((5 + length) / 6) ** alpha,    length counts all tokens and `end`
"""

import numpy as np


def beam_search(next_log_p, start, end, beam_size, max_length, alpha):
    """→ [(tokens, score), …], best first; tokens: a list without start and end.

    next_log_p(hypotheses): for a list of lists of tokens, each with start in front, an array
    [hypotheses, V] of the log-probabilities of the next token; -inf: it may not follow.
    max_length: the longest hypothesis, `end` counted: as its last token only `end` may come.
    """
    raise NotImplementedError
'''

NAMES = ("next_log_p", "start", "end", "beam_size", "max_length", "alpha")
Next = Callable[[Sequence[Sequence[int]]], Any]
Ranked = list[tuple[list[int], float]]


def plain(
    wrong: frozenset[str],
    next_log_p: Next,
    start: int,
    end: int,
    beam_size: int,
    max_length: int,
    alpha: float,
) -> Ranked:
    """The search, with mistakes in it."""
    live: list[tuple[float, list[int]]] = [(0.0, [start])]
    finished: list[tuple[float, list[int]]] = []
    for length in range(1, max_length + 1):
        log_p = np.array(next_log_p([ids for _, ids in live]), dtype=float)
        if length == max_length and "cut off at the longest" not in wrong:
            log_p[:, np.arange(log_p.shape[1]) != end] = -np.inf
        free = beam_size - (0 if "slots of the finished filled again" in wrong else len(finished))
        every = [
            (score + log_p[i, token], [*ids, token])
            for i, (score, ids) in enumerate(live)
            for token in range(log_p.shape[1])
            if log_p[i, token] > -np.inf
        ]
        if "scores not summed" in wrong:
            every = [(log_p[i, ids[-1]], ids) for i, ids in owners(every, live)]
        if "best of each beam" in wrong and len(live) > 1:
            each = [[e for e in every if e[1][:-1] == ids] for _, ids in live]
            chosen = [max(e, key=lambda x: x[0]) for e in each if e][:free]
        else:
            every.sort(key=lambda e: -e[0])
            chosen = every[:free]
        finished += [e for e in chosen if e[1][-1] == end]
        live = [e for e in chosen if e[1][-1] != end]
        if not live or ("stops at the first end" in wrong and finished):
            break
    if "cut off at the longest" in wrong:
        finished += [(score, [*ids, end]) for score, ids in live]
    extra = -1 if "end not counted" in wrong else 0
    power = 0.0 if "no length penalty" in wrong else alpha
    scored = [(ids[1:-1], s / penalty(len(ids) - 1 + extra, power)) for s, ids in finished]
    return sorted(scored, key=lambda e: -e[1])


def owners(
    every: Sequence[tuple[float, list[int]]], live: Sequence[tuple[float, list[int]]]
) -> Iterator[tuple[int, list[int]]]:
    numbers = {tuple(ids): i for i, (_, ids) in enumerate(live)}
    for _, ids in every:
        yield numbers[tuple(ids[:-1])], ids


def penalty(length: int, alpha: float) -> float:
    return float(((5 + length) / 6) ** alpha)


def on_arrays(
    next_log_p: Next, start: int, end: int, beam_size: int, max_length: int, alpha: float
) -> Ranked:
    """The same with arrays of all hypotheses, as a program on a GPU does it."""
    ids = np.array([[start]])
    scores = np.zeros(1)
    free, found = beam_size, []
    length = 0
    while len(ids) and free:
        length += 1
        log_p = np.asarray(next_log_p(ids.tolist()), dtype=float).copy()
        if length == max_length:
            only = log_p[:, end].copy()
            log_p[:] = -np.inf
            log_p[:, end] = only
        total = (scores[:, None] + log_p).ravel()
        best = np.argsort(-total, kind="stable")[:free]
        best = best[np.isfinite(total[best])]
        rows, tokens = np.divmod(best, log_p.shape[1])
        ids, scores = np.column_stack([ids[rows], tokens]), total[best]
        ended = tokens == end
        for row, score in zip(ids[ended], scores[ended], strict=True):
            found.append((row[1:-1].tolist(), float(score / ((5 + length) / 6) ** alpha)))
        ids, scores, free = ids[~ended], scores[~ended], free - int(ended.sum())
    return sorted(found, key=lambda e: -e[1])


@register(
    "exercise",
    "beam_search",
    paper="Wu et al. 2016",
    with_torch=False,
    use="eval RUN",
)
class BeamSearch(Exercise):
    """Beam search with a length penalty."""

    START = START
    HINTS = (
        "Keep live hypotheses as pairs of a log-probability and a list of tokens; at first there "
        "is one, (0.0, [start]).",
        "At each step ask next_log_p for all live hypotheses at once and make the list of all "
        "continuations of all of them; sort it once and take as many as there are free slots.",
        "A chosen continuation that ends in end goes to the finished ones and takes a slot with "
        "it: free = beam_size - len(finished).",
        "When the next token is the last that is allowed (length == max_length), set all other "
        "log-probabilities to -inf first. The penalty is applied only at the very end.",
    )
    MISTAKES = (
        Mistake(
            "no length penalty",
            "beam_search",
            "scores are not divided by ((5 + length) / 6)^alpha, which favours short hypotheses.",
        ),
        Mistake(
            "end not counted",
            "beam_search",
            "the length in the penalty lacks the end token.",
        ),
        Mistake(
            "best of each beam",
            "beam_search",
            "each live hypothesis keeps its own best continuation, so the beams never meet. All "
            "continuations of all hypotheses are compared with each other.",
        ),
        Mistake(
            "scores not summed",
            "beam_search",
            "continuations are compared by their last token alone. Add the log-probability of the "
            "tokens before.",
        ),
        Mistake(
            "stops at the first end",
            "beam_search",
            "the search is over when the first hypothesis has ended. It goes on while one is "
            "alive.",
        ),
        Mistake(
            "slots of the finished filled again",
            "beam_search",
            "a finished hypothesis gives its slot back, so the search finds more and more. It "
            "keeps the slot.",
        ),
        Mistake(
            "cut off at the longest",
            "beam_search",
            "a hypothesis of full length is taken as ended for nothing. Its last token must be "
            "end, with the probability of that.",
        ),
    )
    LIBRARY = ("generate", "BeamSearchScorer")
    BESIDE = "plain NumPy"

    def reference(self) -> Functions:
        return {"beam_search": on_arrays}

    def plain(self, wrong: frozenset[str]) -> Functions:
        return {"beam_search": lambda *a: plain(wrong, *a)}

    def cases(self) -> list[Case]:
        def made(name: str, model: Next, beam_size: int, max_length: int, alpha: float) -> Case:
            given = (model, 0, 1, beam_size, max_length, alpha)
            results = ("the hypotheses",)
            return case("beam_search", name, NAMES, given, results=results, show=_apart)

        return [
            made("one beam (greedy)", drawn_model(1, 6), 1, 6, 0.6),
            made("two beams", drawn_model(2, 6), 2, 6, 0.6),
            made("four beams, no penalty", drawn_model(3, 7), 4, 6, 0.0),
            made("five beams, a strong penalty", drawn_model(4, 7), 5, 8, 2.0),
            made("as many beams as there are sequences", drawn_model(5, 4), 40, 3, 1.0),
            made("the end is likely everywhere", drawn_model(6, 5, 1.5), 4, 9, 0.6),
            made("the end is never likely", drawn_model(7, 5, -6.0), 3, 5, 0.6),
            made("the longest is one token: only the end", drawn_model(8, 5), 3, 1, 0.6),
            made("tokens that may not follow", forbidding(drawn_model(9, 6)), 4, 6, 0.6),
            made("a good beginning that leads nowhere", trap, 2, 4, 0.6),
        ]

    def timed(self) -> Timed:
        model = drawn_model(10, 200, -3.0)
        given = (model, 0, 1, 4, 20, 0.6)
        return Timed("4 beams, 20 tokens of 200", lambda f: f["beam_search"](*given))

    def refusal(self, config: Mapping[str, Any]) -> str | None:
        decoding = config.get("decoding") or {}
        if decoding.get("shortlist") is not None:
            return "decoding.shortlist is not asked for by the search; set it to null"
        if decoding.get("compiled"):
            return "decoding.compiled is not asked for by the search; set it to null"
        return unlike("decoding", ("beam",), decoding.get("name"))

    def replacements(self, functions: Functions) -> Iterator[Replacement]:
        """The search of decoding=beam: every sentence by itself, read anew for each token."""
        import torch

        from scratchlab.decoding import beam
        from scratchlab.decoding.contract import Hypothesis, NextToken

        @torch.inference_mode()
        def n_best(self: Any, model: Any, source: Any, spec: Any, n: int = 1) -> Any:
            config = self.config
            limits = self.limits(source, spec.pad_id or 0)
            found = []
            for row, limit in zip(source, limits, strict=True):
                sentence = row[row != spec.pad_id][None]
                memory = model.encode(sentence)
                allowed = NextToken(spec, limit[None], config.min_length)

                def next_log_p(
                    hypotheses: Any, memory: Any = memory, allowed: Any = allowed
                ) -> Any:
                    tokens = torch.tensor(hypotheses, device=memory.device)
                    hidden = model.decode(tokens, memory.expand(len(tokens), -1, -1))
                    log_p = model.project(hidden[:, -1]).float().log_softmax(-1)
                    allowed.forbid(log_p[None], tokens.shape[1])
                    return log_p.double().cpu().numpy()

                ranked = functions["beam_search"](
                    next_log_p, allowed.sos_id, allowed.eos_id, config.beam_size, int(limit),
                    config.length_penalty,
                )  # fmt: skip
                found.append([
                    Hypothesis(list(ids), float(s),
                               float(s) * penalty(len(ids) + 1, config.length_penalty))
                    for ids, s in ranked[:n]
                ])  # fmt: skip
            return found

        yield Replacement(beam.Beam, "n_best", n_best)


def _apart(seen: dict[str, Any]) -> dict[str, Any]:
    """Tokens and scores by themselves, so that the first difference names one of them."""
    (ranked,) = seen.values()
    return {
        "tokens": [list(map(int, entry[0])) for entry in ranked],
        "scores": [float(entry[1]) for entry in ranked],
    }


def drawn_model(seed: int, vocabulary: int, end: float = 0.0) -> Next:
    """A model whose next token depends on the last two; token 0 (the start) never follows. The
    logit of the end, token 1, is raised by ``end``."""
    logits = np.random.default_rng(seed).normal(size=(vocabulary, vocabulary, vocabulary)) * 1.5
    logits[..., 0] = -np.inf
    logits[..., 1] += end
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))

    def next_log_p(hypotheses: Sequence[Sequence[int]]) -> Any:
        pairs = [([0, *ids])[-2:] for ids in hypotheses]
        return np.array([log_p[a, b] for a, b in pairs])

    return next_log_p


def forbidding(model: Next) -> Next:
    """The same where no token follows itself."""

    def next_log_p(hypotheses: Sequence[Sequence[int]]) -> Any:
        log_p = model(hypotheses)
        for row, ids in enumerate(hypotheses):
            log_p[row, ids[-1]] = -np.inf
        return log_p

    return next_log_p


def trap(hypotheses: Sequence[Sequence[int]]) -> Any:
    """Token 2 is the likeliest beginning, but nothing likely follows it; 3 goes on surely."""
    shares = {0: [0, 0.05, 0.5, 0.4, 0.05], 2: [0, 0.25, 0.26, 0.24, 0.25],
              3: [0, 0.9, 0.03, 0.04, 0.03], 4: [0, 0.3, 0.2, 0.3, 0.2]}  # fmt: skip
    with np.errstate(divide="ignore"):
        return np.log(np.array([shares[ids[-1]] for ids in hypotheses]))

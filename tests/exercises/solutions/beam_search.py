"""Exercise beam_search: beam search with a length penalty."""

import numpy as np


def beam_search(next_log_p, start, end, beam_size, max_length, alpha):
    live, done = [([start], 0.0)], []
    length = 0
    while live:
        length += 1
        table = next_log_p([ids for ids, _ in live])
        candidates = []
        for (ids, score), row in zip(live, table):
            for token, log_p in enumerate(row):
                if log_p == -np.inf or (length == max_length and token != end):
                    # instead (cut off at the longest): if log_p == -np.inf:
                    continue
                candidates.append(([*ids, token], score + log_p))
                # instead (scores not summed): candidates.append(([*ids, token], log_p))
        # all continuations of all hypotheses
        candidates = sorted(candidates, key=lambda c: c[1], reverse=True)
        # instead (best of each beam): candidates = sorted(candidates, key=lambda c: c[1], reverse=True) if len(live) < 2 else [max((c for c in candidates if c[0][:-1] == ids), key=lambda c: c[1]) for ids, _ in live if any(c[0][:-1] == ids for c in candidates)]
        candidates = candidates[: beam_size - len(done)]
        # instead (slots of the finished filled again): candidates = candidates[:beam_size]
        done.extend(c for c in candidates if c[0][-1] == end)
        live = [c for c in candidates if c[0][-1] != end]
        # instead (cut off at the longest): live = [c for c in candidates if c[0][-1] != end]; done.extend(([*ids, end], s) for ids, s in live if length == max_length); live = live if length < max_length else []
        # instead (stops at the first end): live = [] if done else [c for c in candidates if c[0][-1] != end]
    ranked = [(ids[1:-1], s / ((5 + len(ids) - 1) / 6) ** alpha) for ids, s in done]
    # instead (no length penalty): ranked = [(ids[1:-1], s) for ids, s in done]
    # instead (end not counted): ranked = [(ids[1:-1], s / ((5 + len(ids) - 2) / 6) ** alpha) for ids, s in done]
    return sorted(ranked, key=lambda c: c[1], reverse=True)

"""Exercise bleu: BLEU of a corpus."""

import math


def grams(words, n):
    table = {}
    for i in range(len(words) - n + 1):
        key = " ".join(words[i : i + n])
        table[key] = table.get(key, 0) + 1
    return table


def score(hypotheses, references):
    total = 0.0
    for n in (1, 2, 3, 4):
        # instead (three orders): for n in (1, 2, 3):
        right = count = 0
        for h, r in zip(hypotheses, references):
            ours, theirs = grams(h, n), grams(r, n)
            right += sum(min(c, theirs.get(g, 0)) for g, c in ours.items())
            # instead (not clipped): right += sum(c for g, c in ours.items() if g in theirs)
            count += sum(ours.values())
            # instead (recall): count += sum(theirs.values())
        if right == 0:
            # instead (arithmetic mean): if False:
            return 0.0
        total += 0.25 * math.log(right / count)
        # instead (three orders): total += math.log(right / count) / 3
        # instead (arithmetic mean): total += right / count / 4 if count else 0.0
    c, r = sum(len(h) for h in hypotheses), sum(len(r) for r in references)
    penalty = min(1.0, math.exp(1 - r / c))
    # instead (no brevity penalty): penalty = 1.0
    # instead (long ones punished): penalty = min(1.0, math.exp(1 - c / r))
    # instead (ratio as penalty): penalty = min(1.0, c / r)
    return 100 * penalty * math.exp(total)
    # instead (arithmetic mean): return 100 * penalty * total
    # instead (from 0 to 1): return penalty * math.exp(total)


def corpus_bleu(hypotheses, references):
    return score(hypotheses, references)
    # instead (mean of the sentences): return sum(score([h], [r]) for h, r in zip(hypotheses, references)) / len(references)

"""Exercise bpe: byte-pair encoding."""


def neighbours(symbols):
    return [tuple(symbols[i : i + 2]) for i in range(len(symbols) - 1)]


def join(symbols, pair):
    out = []
    for s in symbols:
        if out and (out[-1], s) == pair:
            out[-1] += s
            out.append(None)  # so that what was joined is not joined again in this pass
        else:
            out.append(s)
    return [s for s in out if s is not None]


def learn(counts, n_merges, min_count=1):
    words = {word: tuple(word) for word in counts}
    merges = []
    for _ in range(n_merges):
        table = {}
        for word, symbols in words.items():
            for pair in neighbours(symbols):
                table[pair] = table.get(pair, 0) + counts[word]
                # instead (counts of words ignored): table[pair] = table.get(pair, 0) + 1
        # every pair is counted
        # instead (pairs across words): text = [s for w in words for s in words[w] * counts[w]]; table = {p: neighbours(text).count(p) for p in neighbours(text)}
        if not table:
            break
        ranked = sorted(table.items(), key=lambda item: (-item[1], item[0]))
        # instead (the first of equal pairs): ranked = sorted(table.items(), key=lambda item: -item[1])
        # instead (the largest of equal pairs): ranked = sorted(table.items(), key=lambda item: (item[1], item[0]))[::-1]
        # instead (pairs of the start only): return [p for p, n in sorted(table.items(), key=lambda i: (-i[1], i[0])) if n >= min_count][:n_merges]
        best, often = ranked[0]
        if often < min_count:
            break
        merges.append(best)
        words = {w: tuple(join(symbols, best)) for w, symbols in words.items()}
        # instead (joined as text): words = {w: tuple(" ".join(s).replace(" ".join(best), "".join(best)).split()) for w, s in words.items()}
    return merges


def encode(word, merges):
    symbols = list(word)
    # instead (longest piece first): pieces = {a + b for a, b in merges}; cut = lambda w: next(([w[:n], *cut(w[n:])] for n in range(len(w), 0, -1) if n == 1 or w[:n] in pieces), []); return cut(word)
    # instead (leftmost merge first): symbols = list(word)⏎while any(p in merges for p in neighbours(symbols)): symbols = join(symbols, next(p for p in neighbours(symbols) if p in merges))
    for pair in merges:
        symbols = join(symbols, tuple(pair))
        # instead (one place only): at = next((i for i, p in enumerate(neighbours(symbols)) if p == tuple(pair)), None); symbols = symbols if at is None else [*symbols[:at], "".join(pair), *symbols[at + 2 :]]
    # all merges are done
    return symbols

"""A list of tokens with the four special ones in front: text units to ids and back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from scratchlab.errors import UserError, shortened

SPECIAL_TOKENS = ("<unk>", "<pad>", "<sos>", "<eos>")
UNK_ID, PAD_ID, SOS_ID, EOS_ID = range(4)


class Vocabulary:
    """Tokens by id; ids 0 to 3 are ``<unk> <pad> <sos> <eos>``.

    Text that happens to read ``<pad>`` is no special token: units of text never map to ids 0 to 3
    except to ``<unk>``.
    """

    def __init__(self, tokens: Sequence[str]) -> None:
        """``tokens`` with the special ones in front, none twice."""
        self.tokens = list(tokens)
        n_special = len(SPECIAL_TOKENS)
        if tuple(self.tokens[:n_special]) != SPECIAL_TOKENS:
            raise UserError(f"a vocabulary must start with {' '.join(SPECIAL_TOKENS)}")
        self._ids = {t: i for i, t in enumerate(self.tokens) if i >= n_special}
        if len(self._ids) != len(self.tokens) - n_special:
            twice = next(t for t, n in Counter(self.tokens[n_special:]).items() if n > 1)
            raise UserError(f"the token {shortened(twice)} stands twice in a vocabulary")

    @classmethod
    def count(
        cls, units: Iterable[str] | Counter[str], size: int, min_frequency: int
    ) -> Vocabulary:
        """The most frequent units (or counted ones), at most ``size`` tokens in all; ties in
        alphabetical order."""
        counts = units if isinstance(units, Counter) else Counter(units)
        frequent = [(-n, u) for u, n in counts.items() if n >= min_frequency]
        kept = [unit for _, unit in sorted(frequent)[: max(0, size - len(SPECIAL_TOKENS))]]
        return cls([*SPECIAL_TOKENS, *kept])

    def __len__(self) -> int:
        return len(self.tokens)

    def ids(self, units: Iterable[str]) -> list[int]:
        """The id of each unit; ``<unk>`` for those not in the vocabulary."""
        get = self._ids.get
        return [get(u, UNK_ID) for u in units]

    def get(self, unit: str) -> int | None:
        """The id of a unit, or None."""
        return self._ids.get(unit)

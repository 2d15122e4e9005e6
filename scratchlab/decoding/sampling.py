"""Continue a text: greedy, or drawn with temperature, top-k and top-p (Holtzman et al. 2020).

What comes out for a prompt depends on the seed and the prompt alone, not on the prompts beside it:
each text has random numbers of its own, made from both. The same prompt given twice in one batch
counts as two, with two continuations.

When a text grows beyond the model's block, the oldest part of the context is let go: a share
``keep_context`` of the block stays and fills up again. Reading it anew costs one pass per refill;
moving the window by one token would cost one per token. Where the window starts depends on the
length of the text only, so cached and uncached generation agree.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from scratchlab.data.contract import Spec
from scratchlab.errors import UserError
from scratchlab.models.compiled.fitting import compiled
from scratchlab.models.contract import LanguageModel
from scratchlab.models.layers.linear import packed
from scratchlab.registry import option, register

# How many of the most probable tokens are looked at before all are sorted for top-p.
FEW = 256


@register("decoding", "sampling", tasks=("language_modeling",))
class Sampling:
    """Draw each next token from the model's distribution (temperature 0: the most probable one)."""

    @dataclass(frozen=True)
    class Config:
        temperature: float = option(
            1.0, "divides the logits; below 1 surer, 0 always the most probable token", min=0
        )
        top_k: int | None = option(None, "draw from the k most probable tokens; null: all", min=1)
        top_p: float = option(
            1.0, "draw from the fewest tokens that hold this probability", above=0, max=1
        )
        max_new_tokens: int = option(200, "tokens added to a prompt at most", min=1)
        seed: int = option(0, "of the random draws", min=0)
        stop_at_eos: bool = option(True, "stop at the end of the text, where the data have one")
        allow_unknown: bool = option(False, "the unknown token may be generated")
        keep_context: float = option(
            0.5, "share of the block that stays when a text outgrows it", above=0, below=1
        )
        cache: bool = option(True, "keep keys and values; false: read the text anew each time")
        compiled: bool | None = option(
            None,
            "steps of up to 8 texts as one compiled function; null: where its second of compiling "
            "is won back",
            when={"cache": True},
        )

    def __init__(self, config: Config) -> None:
        self.config = config

    def stream(
        self,
        model: LanguageModel,
        prompt_ids: Sequence[int],
        spec: Spec,
        stop: Sequence[int] = (),
        max_new_tokens: int | None = None,
    ) -> Iterator[int]:
        """The tokens that continue a prompt, one by one as they are drawn.

        ``stop``: ids that end the text besides ``<eos>``; the id that ended it comes out as well.
        ``model`` is in ``eval()`` mode.
        """
        for step in self.steps(model, [prompt_ids], spec, stop, max_new_tokens):
            yield step[0][1]

    def generate_batch(
        self,
        model: LanguageModel,
        prompts: Sequence[Sequence[int]],
        spec: Spec,
        stop: Sequence[int] = (),
        max_new_tokens: int | None = None,
    ) -> list[list[int]]:
        """The continuation of each prompt (of any lengths), equal to what each gets alone.

        The id that ended a text (``<eos>`` or one of ``stop``) is its last.
        """
        found: list[list[int]] = [[] for _ in prompts]
        for step in self.steps(model, prompts, spec, stop, max_new_tokens):
            for row, token in step:
                found[row].append(token)
        return found

    @torch.inference_mode()
    def steps(
        self,
        model: LanguageModel,
        prompts: Sequence[Sequence[int]],
        spec: Spec,
        stop: Sequence[int] = (),
        max_new_tokens: int | None = None,
    ) -> Iterator[list[tuple[int, int]]]:
        """One list of (prompt's number, new token) per step, for the texts that still go on."""
        if not prompts:
            return
        texts = [self.opening(prompt, spec) for prompt in prompts]
        limit = max_new_tokens or self.config.max_new_tokens
        ends = {*stop, *([spec.eos_id] if self.config.stop_at_eos else [])}
        banned = [spec.pad_id, spec.sos_id, None if self.config.allow_unknown else spec.unk_id]
        forbidden = [i for i in banned if i is not None and i not in ends]
        draws = uniform_draws(texts, limit, self.config.seed)
        window = Window(model, texts, limit, self.config.keep_context, self.config.cache)
        rows = list(range(len(texts)))
        asked = self.config.compiled if self.config.cache else False
        with (
            compiled(model, len(rows), limit, asked) as all_steps,
            packed(model, len(rows), 0 if all_steps else limit),
        ):
            for step in range(limit):
                logits = window.next_logits([texts[row] for row in rows])
                draw = draws[rows, step].to(logits.device)
                tokens = self.choose(logits, draw, forbidden).tolist()
                drawn = list(zip(rows, tokens, strict=True))
                for row, token in drawn:
                    texts[row].append(token)
                yield drawn
                kept = [i for i, token in enumerate(tokens) if token not in ends]
                if not kept:
                    return
                if len(kept) < len(rows):
                    rows = [rows[i] for i in kept]
                    window.select(kept)

    def opening(self, prompt: Sequence[int], spec: Spec) -> list[int]:
        """The prompt; an empty one begins after an end of text, if the data have such a token."""
        if prompt:
            return list(prompt)
        first = spec.sos_id if spec.sos_id is not None else spec.eos_id
        if first is None:
            raise UserError("the prompt is empty", "Give at least one token to go on from.")
        return [first]

    def choose(self, logits: Tensor, draws: Tensor, forbidden: Sequence[int] = ()) -> Tensor:
        """The next tokens [B] from logits [B, V] and random numbers ``draws`` [B] in [0, 1).

        ``forbidden`` ids have no chance. The logits may be changed.
        """
        config = self.config
        logits = logits.float().contiguous()
        if forbidden:
            logits[:, list(forbidden)] = float("-inf")
        if config.temperature == 0:
            return logits.argmax(-1)
        scaled = (logits - logits.amax(-1, keepdim=True)) / config.temperature
        ids: Tensor | None = None  # of the candidates [B, C]; None: all, in their order
        if config.top_k is not None and config.top_k < scaled.shape[1]:
            scaled, ids = scaled.topk(config.top_k)
        normalizer = scaled.logsumexp(-1, keepdim=True)
        if config.top_p < 1 and ids is None:
            scaled, ids = self.most_probable(scaled, normalizer)
        p = (scaled - normalizer).double().exp()
        if config.top_p < 1:  # sorted: what comes after the mass is reached has no chance
            p = p.masked_fill(p.cumsum(-1) - p >= config.top_p, 0.0)
        mass = p.cumsum(-1)
        total = mass[:, -1:]
        if not bool(total.isfinite().all()):
            raise UserError(
                "the model's outputs are not numbers any more",
                "Generate from an earlier checkpoint, or train with a lower learning rate.",
            )
        below = torch.nextafter(total, torch.zeros_like(total))
        goal = torch.minimum(draws[:, None].double() * total, below)
        place = torch.searchsorted(mass, goal, right=True)
        return (place if ids is None else ids.gather(1, place))[:, 0]

    def most_probable(self, scaled: Tensor, normalizer: Tensor) -> tuple[Tensor, Tensor]:
        """The most probable tokens in their order, enough of them to hold ``top_p``: [B, C], ids.

        Mostly a few do, which spares sorting the whole vocabulary.
        """
        if scaled.shape[1] > FEW:
            values, ids = scaled.topk(FEW)
            held = (values - normalizer).double().exp().sum(-1)
            if bool((held >= self.config.top_p).all()):
                return values, ids
        return scaled.sort(-1, descending=True)


def uniform_draws(texts: Sequence[Sequence[int]], count: int, seed: int) -> Tensor:
    """[len(texts), count] random numbers in [0, 1): row by row a function of the seed, the text and
    how many equal texts came before it."""
    seen: Counter[tuple[int, ...]] = Counter()
    rows = []
    for text in texts:
        key = tuple(text)
        name = f"{seed}:{seen[key]}:{key}".encode()
        seen[key] += 1
        number = int.from_bytes(hashlib.blake2b(name, digest_size=7).digest(), "big")
        generator = torch.Generator().manual_seed(number)
        rows.append(torch.rand(count, generator=generator, dtype=torch.float64))
    return torch.stack(rows)


class Window:
    """The part of each text that the model sees, and the model's cache of it."""

    def __init__(
        self, model: LanguageModel, texts: Sequence[list[int]], new: int, keep: float, cached: bool
    ) -> None:
        self.model = model
        self.block = model.block_size
        self.device = next(model.parameters()).device
        self.shift = 0 if self.block is None else self.block - max(1, int(self.block * keep))
        self.shift = max(1, self.shift)
        self.starts: list[int] | None = None
        longest = max(len(text) for text in texts) + new
        self.cache = model.start_cache(len(texts), longest) if cached else None

    def start(self, length: int) -> int:
        """Where the context of a text of this length starts."""
        if self.block is None or length <= self.block:
            return 0
        return -((self.block - length) // self.shift) * self.shift

    def next_logits(self, texts: Sequence[list[int]]) -> Tensor:
        """The logits [B, V] that follow the texts, each a token longer than at the last call."""
        starts = [self.start(len(text)) for text in texts]
        if self.cache is not None and starts == self.starts:
            newest = torch.tensor([text[-1:] for text in texts], device=self.device)
            return self.model.next_logits(newest, self.cache)
        self.starts = starts
        contexts = [text[start:] for text, start in zip(texts, starts, strict=True)]
        lengths = torch.tensor([len(context) for context in contexts], device=self.device)
        width = int(lengths.max())
        padded = [context + [0] * (width - len(context)) for context in contexts]
        tokens = torch.tensor(padded, device=self.device)
        if self.cache is not None:
            self.cache.clear()
        return self.model.next_logits(tokens, self.cache, lengths)

    def select(self, kept: Sequence[int]) -> None:
        """Keep these texts (ascending) only."""
        if self.starts is not None:
            self.starts = [self.starts[i] for i in kept]
        if self.cache is not None:
            self.cache.select(torch.tensor(kept, device=self.device))

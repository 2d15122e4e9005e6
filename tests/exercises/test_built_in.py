"""The program's own parts pass the exercises that they are the subject of: a second proof of them.

Each is called as its exercise calls a person's function. Where a part computes in float32, or sorts
where the exercise does not, results are compared as far as that goes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from scratchlab.data.contract import Spec
from scratchlab.exercises.checking.comparing import difference
from scratchlab.exercises.checking.judging import expected, quiet
from scratchlab.exercises.checking.solution import load_exercise
from scratchlab.exercises.contract import Functions, Seen


def wrong_cases(
    name: str, functions: Functions, tolerance: float | None = None,
    alike: Callable[[Seen], Seen] = lambda seen: seen, leave_out: Sequence[str] = (),
) -> list[str]:  # fmt: skip
    """The cases of those functions that are given, where they show something else."""
    found, tried = [], 0
    for case, right in expected(load_exercise(name)):
        if case.function not in functions or case.name in leave_out:
            continue
        tried += 1
        with quiet():
            seen = alike(case.observe(functions))
        problem = difference(seen, alike(right), tolerance or case.tolerance)
        if problem:
            found.append(f"{case.name}: {problem}")
    assert tried
    return found


def as_doubles(seen: Seen) -> Seen:
    def plain(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            value = value.detach().numpy()
        if isinstance(value, np.ndarray):
            return value.astype(np.float64 if value.dtype.kind == "f" else np.int64)
        return value

    return {name: plain(value) for name, value in seen.items()}


def test_attention() -> None:
    from scratchlab.models.layers.attention import attend

    def written_out(q: Any, k: Any, v: Any, mask: Any = None) -> Any:
        return attend(q, k, v, mask, weights=[])

    assert not wrong_cases("attention", {"attention": written_out})


def test_multi_head_attention_with_its_cache() -> None:
    from scratchlab.models.layers.attention import SelfAttention
    from scratchlab.models.layers.cache import KeyValueCache

    def layer(x: Any, w_qkv: Any, b_qkv: Any, w_out: Any, b_out: Any, n: int, cache: Any = None
              ) -> Any:  # fmt: skip
        module = SelfAttention(x.shape[-1], n, causal=True).to(x.dtype)
        parameters = dict(zip(("qkv.weight", "qkv.bias", "out.weight", "out.bias"),
                              (w_qkv, b_qkv, w_out, b_out), strict=True))  # fmt: skip
        kept = KeyValueCache(1, 64)
        if cache is not None:  # tokens of a text come one by one
            kept.extend(x.new_zeros(len(x), cache[0].shape[2], dtype=torch.long))
            kept.layers[0].store(*cache)
        ys = []
        for piece in [x] if cache is None else x.split(1, 1):
            kept.extend(piece.new_zeros(piece.shape[:2], dtype=torch.long))
            given = (piece, None, None, kept.layers[0])
            ys.append(torch.func.functional_call(module, parameters, given))
        memory = kept.layers[0].memory
        assert memory is not None
        return torch.cat(ys, 1), tuple(m[:, :, : kept.seen].clone() for m in memory)

    # Gradients do not pass through a cache, which is written in place: these cases want them.
    cached = ("three tokens after a cache of five", "one token after a cache of five")
    assert not wrong_cases("multi_head_attention", {"multi_head_attention": layer},
                           leave_out=cached)  # fmt: skip


def test_positions_rotary_and_embedding() -> None:
    from scratchlab.models.layers.attention import rotate
    from scratchlab.models.layers.positions import Positions, Rotary, sinusoidal_table

    def embed(ids: Any, table: Any) -> Any:
        positions = Positions("sinusoidal", table.shape[1], 4).double()
        return positions(table[ids] * table.shape[1] ** 0.5, slice(0, ids.shape[1]))

    functions = {"sinusoidal": sinusoidal_table, "embed": embed}
    assert not wrong_cases("positions", functions, 1e-4)

    def turned(x: Any, positions: Any, base: float = 10000.0) -> Any:
        rotary = Rotary(x.shape[-1], 8, base).to(x.dtype)
        return rotate(x, rotary(positions))

    assert not wrong_cases("rotary", {"rotate": turned}, 1e-4)


def test_dropout_lstm_and_lora() -> None:
    from torch import nn

    from scratchlab.methods.lora import LoRALinear
    from scratchlab.models.layers.dropout import Dropout
    from scratchlab.models.layers.recurrent_cells import lstm_step

    def dropout(x: Any, p: float, training: bool) -> Any:
        layer = Dropout(p).train(training)
        return layer(x) if training else layer(x) * 1

    assert not wrong_cases("dropout", {"dropout": dropout})

    def step(x: Any, h: Any, c: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any) -> Any:
        return lstm_step(x @ w_ih.t() + b_ih, (h, c), w_hh, b_hh)

    assert not wrong_cases("lstm", {"lstm_step": step})

    def lora(outputs: int, inputs: int, a: Any, b: Any, alpha: float) -> LoRALinear:
        base = nn.Linear(inputs, outputs, bias=False).double()
        nn.init.zeros_(base.weight)
        layer = LoRALinear(base, len(a), alpha, 0.0)
        layer.lora_a, layer.lora_b = nn.Parameter(a.detach()), nn.Parameter(b.detach())
        return layer

    def change(x: Any, a: Any, b: Any, alpha: float) -> Any:
        layer = lora(len(b), a.shape[1], a, b, alpha)
        return torch.func.functional_call(layer, {"lora_a": a, "lora_b": b}, (x,))

    def merged(weight: Any, a: Any, b: Any, alpha: float) -> Any:
        return weight + lora(*weight.shape, a, b, alpha).change().detach()

    assert not wrong_cases("lora", {"change": change, "merged": merged})


def test_cross_entropy() -> None:
    from scratchlab.tasks.cross_entropy import linear_cross_entropy, plain_cross_entropy

    for loss in (linear_cross_entropy, plain_cross_entropy):

        def by_task(logits: Any, targets: Any, ignore: int = -100, loss: Any = loss) -> Any:
            real = targets != ignore
            units = torch.eye(logits.shape[1], dtype=logits.dtype)
            with torch.enable_grad():
                z = logits.detach().clone().requires_grad_()
                total, _ = loss(z[real], units, targets[real])
                mean = total / real.sum()
                (gradient,) = torch.autograd.grad(mean, z)
            return mean.detach(), gradient

        assert not wrong_cases("cross_entropy", {"cross_entropy": by_task})


def test_adam_and_backpropagation_in_numpy() -> None:
    from scratchlab.estimators.losses import softmax_cross_entropy
    from scratchlab.estimators.network import Network
    from scratchlab.estimators.update_rules import Adam

    def step(parameter: Any, gradient: Any, mean: Any, square: Any, t: int, lr: float,
             beta1: float, beta2: float, eps: float) -> None:  # fmt: skip
        rule = Adam(parameter.numel(), np.dtype(np.float64), beta1, beta2)
        rule.epsilon, rule.steps = eps, t - 1
        rule.mean, rule.square = mean.numpy().reshape(-1), square.numpy().reshape(-1)
        rule.step(parameter.numpy().reshape(-1), gradient.numpy().reshape(-1), lr)

    assert not wrong_cases("adam", {"adam_step": step}, leave_out=("float32",))

    def gradients(x: Any, targets: Any, weights: Any, biases: Any) -> Any:
        sizes = [x.shape[1], *(len(b) for b in biases)]
        network = Network(sizes, "relu", softmax_cross_entropy, 0.0, np.float64)
        for own, given in zip([*network.weights, *network.biases], [*weights, *biases]):
            own[:] = given
        loss, _ = network.loss_and_gradient(x, targets)
        return loss, network._weight_gradients, network._bias_gradients

    assert not wrong_cases("backprop", {"loss_and_gradients": gradients}, 1e-5)


def test_skipgram_and_kneser_ney() -> None:
    from scratchlab.estimators.embeddings import negative_sampling
    from scratchlab.estimators.ngrams.counts import build_stream, count_ngrams
    from scratchlab.estimators.ngrams.smoothing import estimated, interpolate

    def update(inputs: Any, outputs: Any, word: int, targets: Any, noise: Any, rate: float) -> Any:
        labels = np.repeat([1.0, 0.0], [len(targets), len(noise)])
        ids = np.concatenate([targets, noise])
        return negative_sampling.update(inputs, outputs, np.array([word]), ids, labels, rate)

    assert not wrong_cases("skipgram", {"update": update})

    def continuations(lefts: Any, rights: Any, n_words: int) -> Any:
        text = np.append(lefts, rights[-1:]) + 3  # the first three numbers are the model's own
        stream = build_stream(text, np.array([0, len(text)]))
        counts = count_ngrams(stream, 2, n_words + 3, adjusted=True)[0].counts[3:].copy()
        counts[lefts[0]] -= 1  # <s> before the first word counts there
        return counts

    functions = {"continuation_counts": continuations, "discounts": estimated,
                 "interpolate": interpolate}  # fmt: skip
    assert not wrong_cases("kneser_ney", functions)


def test_byte_pairs_are_applied() -> None:
    from scratchlab.data.tokenizers.bpe import Merges
    from scratchlab.data.tokenizers.words import START

    def encode(word: str, merges: Any) -> list[str]:
        tokens = list(dict.fromkeys([START, *sorted({*word, *"".join(map("".join, merges))}),
                                     *map("".join, merges)]))  # fmt: skip
        numbers = {token: i for i, token in enumerate(tokens)}
        return [tokens[i] for i in Merges(numbers, merges, 0).apply(word)]

    assert not wrong_cases("bpe", {"encode": encode})


def test_tf_idf() -> None:
    from scratchlab.representations.tfidf import TfIdf

    def new() -> TfIdf:
        return TfIdf(token_pattern=r"\S+", lowercase=False)

    def learned(documents: Any) -> Any:
        found = new().fit([" ".join(words) for words in documents])
        return list(found.vocabulary_), found.idf_

    def weights(documents: Any, words: Any, idf: Any) -> Any:
        found = new()
        found.vocabulary_, found.idf_ = {w: i for i, w in enumerate(words)}, np.asarray(idf)
        return found.transform([" ".join(words) for words in documents]).toarray()

    assert not wrong_cases("tfidf", {"inverse_frequencies": learned, "weights": weights})


def test_int8_and_nf4() -> None:
    from scratchlab.methods import int8, nf4

    def quantized(scheme: str) -> Callable[[Any], Any]:
        def call(weight: Any) -> Any:
            found = int8.quantize(torch.from_numpy(weight), scheme, True)
            scale = found.scale[:, 0].double().numpy()
            scale = np.where(scale < 1e-30, 1.0, scale)  # of a row of zeros
            zero = [] if found.zero_point is None else [found.zero_point[:, 0].numpy()]
            return (found.values.numpy(), scale, *zero)

        return call

    def dequantized(q: Any, scale: Any, z: Any) -> Any:
        parts = (torch.from_numpy(a)[:, None] for a in (scale.astype(np.float32), z))
        return int8.Int8Weight(int8.Quantized(torch.from_numpy(q), *parts)).dequantize().numpy()

    functions = {"absmax": quantized("absmax"), "zero_point": quantized("zero_point"),
                 "dequantize": dequantized}  # fmt: skip
    assert not wrong_cases("int8", functions, 1e-5, as_doubles)

    def there(weight: Any) -> Any:
        found = nf4.quantize_nf4(torch.from_numpy(np.ascontiguousarray(weight)), False)
        return found.codes.numpy(), found.maxima.numpy()

    def back(codes: Any, maxima: Any, shape: Any) -> Any:
        numbers = (torch.from_numpy(codes), torch.from_numpy(maxima.astype(np.float32)))
        return nf4.dequantize_nf4(nf4.NF4(*numbers, None, None), shape).numpy()

    functions = {"table": lambda: nf4.normal_float().numpy(), "quantize": there,
                 "dequantize": back}  # fmt: skip
    for flushed in (True, False):  # a run lets numbers that are nearly 0 be 0
        torch.set_flush_denormal(flushed)
        assert not wrong_cases("nf4", functions, 1e-5, as_doubles)


def test_nucleus_sampling_draws_with_the_probabilities_of_the_exercise() -> None:
    from scratchlab.decoding.sampling import Sampling

    draws = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000

    def nucleus(logits: Any, top_p: float, temperature: float) -> Any:
        decoder = Sampling(Sampling.Config(top_p=top_p, temperature=temperature))
        rows = torch.from_numpy(logits).repeat(len(draws), 1)
        drawn = decoder.choose(rows, draws).numpy()
        return np.bincount(drawn, minlength=len(logits)) / len(draws)

    assert not wrong_cases("nucleus", {"nucleus": nucleus}, 2e-3)


class _Told:
    """A model of translation that is told what is likely after the tokens so far."""

    def __init__(self, next_log_p: Any, start: int) -> None:
        self.next_log_p, self.begin = next_log_p, start

    def padding(self, source: Any) -> None:
        return None

    def encode(self, source: Any, padding: Any) -> Any:
        return source

    def start_cache(self, memory: Any, padding: Any, longest: int, beams: int) -> _Told:
        self.texts: list[list[int]] = [[] for _ in range(beams)]
        return self

    def next_logits(self, newest: Any, cache: Any) -> Any:
        for text, token in zip(self.texts, newest[0].tolist(), strict=True):
            text.append(token)
        return torch.from_numpy(np.asarray(self.next_log_p(self.texts)))[None]

    def reorder(self, parents: Any) -> None:
        self.texts = [list(self.texts[i]) for i in parents[0].tolist()]


def test_beam_search() -> None:
    from scratchlab.decoding.beam import Beam

    def search(next_log_p: Any, start: int, end: int, size: int, longest: int, alpha: float) -> Any:
        def after(texts: Any) -> Any:  # a beam that ended is asked as well: of no account
            kept = [t if end not in t else [start] for t in texts]
            return next_log_p(kept)

        vocabulary = np.asarray(next_log_p([[start]])).shape[1]
        config = Beam.Config(beam_size=size, length_penalty=alpha, max_length_factor=0.0,
                             max_length_extra=longest)  # fmt: skip
        spec = Spec(task="seq2seq", vocab_size=vocabulary, pad_id=start, sos_id=start, eos_id=end)
        found = Beam(config).n_best(_Told(after, start), torch.ones(1, 1).long(), spec, size)[0]  # type: ignore[arg-type]
        return [(hypothesis.ids, hypothesis.score) for hypothesis in found]

    # The program makes probabilities of what it is told, so they must add up to 1.
    assert not wrong_cases("beam_search", {"beam_search": search}, 1e-5,
                           leave_out=("tokens that may not follow",))  # fmt: skip

"""Steps of a few rows as one compiled function give what the layers give, called one by one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from scratchlab.data.contract import Spec
from scratchlab.decoding.beam import Beam
from scratchlab.decoding.contract import NextToken
from scratchlab.decoding.greedy import Greedy
from scratchlab.decoding.sampling import Sampling
from scratchlab.errors import MissingPackageError, UserError
from scratchlab.methods.bf16 import Bf16
from scratchlab.methods.contract import MethodContext
from scratchlab.methods.int8 import Int8
from scratchlab.methods.lora import LoRA
from scratchlab.models.compiled import fitting, has_dots, is_here
from scratchlab.models.compiled.fitting import compiled
from scratchlab.models.compiled.listing import MOST
from scratchlab.models.compiled.stack import Stack
from scratchlab.models.gpt import GPT
from scratchlab.models.transformer_mt import TransformerMT
from scratchlab.run.own_part import OwnPart, in_place

pytestmark = pytest.mark.skipif(
    not is_here(), reason="the processor has no such registers, or numba is not installed"
)
TEXT = Spec(task="language_modeling", vocab_size=90, max_length=40)
PAIRS = Spec(
    task="seq2seq",
    vocab_size=101,
    source_vocab_size=101,
    shared_vocabulary=True,
    unk_id=0,
    pad_id=1,
    sos_id=2,
    eos_id=3,
)
WRITERS: dict[str, dict[str, Any]] = {
    "plain": {},
    "rotary": {"positions": "rotary", "bias": False},
    "qk_norm": {"qk_norm": True, "activation": "relu2", "positions": "none"},
    "gelu": {"activation": "gelu", "positions": "sinusoidal", "tie_embeddings": False},
}
TRANSLATORS: dict[str, dict[str, Any]] = {
    "plain": {},
    "post": {"norm": "post", "activation": "gelu"},
    "rotary": {"positions": "rotary", "qk_norm": True},
    "softcap": {"activation": "relu2", "tie_embeddings": False, "logit_softcap": 5.0},
}


def restless(model: Any) -> Any:
    """Gains and biases that are not those of the beginning, and outputs that differ a lot."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    return model.eval()


def writer(**options: Any) -> GPT:
    torch.manual_seed(0)
    model = GPT(GPT.Config(d_model=64, n_heads=2, n_layers=2, **options), TEXT)
    return restless(model)  # type: ignore[no-any-return]


def translator(**options: Any) -> TransformerMT:
    torch.manual_seed(0)
    size: dict[str, Any] = {"d_model": 64, "n_heads": 2, "d_ff": 96, "encoder_layers": 1}
    config = TransformerMT.Config(**{**size, "decoder_layers": 2, **options})
    return restless(TransformerMT(config, PAIRS))  # type: ignore[no-any-return]


def both(model: Any, step: Any) -> tuple[Tensor, Tensor]:
    """Logits of 16 steps, layer by layer and by a stack; ``step(model)`` begins and gives a
    function of the number of a step."""
    found = []
    with torch.inference_mode():
        for compiled_too in (False, True):
            logits, model.stack = step(model), None
            if compiled_too:
                model.stack = Stack(*model.stacked())
            found.append(torch.stack([logits(i) for i in range(16)]))
            model.stack = None
    return found[0], found[1]


def of_texts(lengths: list[int]) -> Any:
    """Prompts of these lengths, and then token after token."""

    def begin(model: GPT) -> Any:
        cache = model.start_cache(len(lengths), 40)
        tokens = torch.randint(90, (len(lengths), 40), generator=torch.Generator().manual_seed(1))
        model.next_logits(tokens[:, : max(lengths)], cache, torch.tensor(lengths))
        return lambda i: model.next_logits(tokens[:, 20 + i : 21 + i], cache)

    return begin


def of_beams(texts: int, beams: int) -> Any:
    def begin(model: TransformerMT) -> Any:
        random = torch.Generator().manual_seed(1)
        source = torch.randint(4, 101, (texts, 9), generator=random)
        source[0, 6:] = 1  # padding
        padding = model.padding(source)
        cache = model.start_cache(model.encode(source, padding), padding, 20, beams)

        def step(i: int) -> Tensor:
            tokens = torch.randint(4, 101, (texts, beams), generator=random)
            logits = model.next_logits(tokens, cache)
            if i % 3 == 2:
                cache.reorder(torch.randint(beams, (texts, beams), generator=random))
            return logits

        return step

    return begin


@pytest.mark.parametrize("lengths", [[3], [5, 2, 7], [4] * 7], ids=["one", "unequal", "seven"])
@pytest.mark.parametrize("options", WRITERS.values(), ids=WRITERS)
def test_the_next_token_of_texts(options: dict[str, Any], lengths: list[int]) -> None:
    by_layers, together = both(writer(**options), of_texts(lengths))
    torch.testing.assert_close(together, by_layers, rtol=1e-5, atol=2e-6)
    assert not torch.equal(together, by_layers)  # they were made in another way


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (4, 2)], ids=["greedy", "five beams", "four"])
@pytest.mark.parametrize("options", TRANSLATORS.values(), ids=TRANSLATORS)
def test_the_next_token_of_translations(options: dict[str, Any], size: tuple[int, int]) -> None:
    by_layers, together = both(translator(**options), of_beams(*size))
    torch.testing.assert_close(together, by_layers, rtol=1e-5, atol=2e-6)


STARTS: dict[str, dict[str, Any]] = {
    "sinusoidal": {},
    "learned": {"positions": "learned", "norm": "post"},
    "rotary": {"positions": "rotary", "tie_embeddings": False},
}


def best_of_beams(model: TransformerMT, texts: int, beams: int) -> tuple[Tensor, Tensor]:
    """What may come next at 16 steps of random beams: texts of at least 4 tokens, the first of at
    most 12."""
    random = torch.Generator().manual_seed(1)
    source = torch.randint(4, 101, (texts, 9), generator=random)
    cache = model.start_cache(model.encode(source), None, 20, beams)
    allowed = NextToken(PAIRS, torch.tensor([12, *[20] * (texts - 1)]), 4)
    found = []
    for length in range(1, 17):
        tokens = torch.randint(4, 101, (texts, beams), generator=random)
        found.append(allowed.best(model, tokens, cache, length, beams))
        if length % 3 == 2:
            cache.reorder(torch.randint(beams, (texts, beams), generator=random))
    return torch.stack([log_p for log_p, _ in found]), torch.stack([ids for _, ids in found])


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (4, 2)], ids=["greedy", "five beams", "four"])
@pytest.mark.parametrize("options", STARTS.values(), ids=STARTS)
def test_the_most_probable_tokens(
    options: dict[str, Any], size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = translator(**options)
    with torch.inference_mode():
        log_p, ids = best_of_beams(model, *size)
        with compiled(model, 1, 1, True):
            monkeypatch.setattr(model, "next_logits", None)  # nobody asks for all of them
            its_log_p, its_ids = best_of_beams(model, *size)
    possible = log_p > -torch.inf
    assert (log_p[11:, 0, :, 0] > -torch.inf).all() and (ids[11:, 0, :, 0] == 3).all()
    torch.testing.assert_close(its_log_p, log_p, rtol=1e-5, atol=4e-6)
    assert torch.equal(its_ids[possible], ids[possible])
    assert 3 not in its_ids[:3]  # <eos> would be too early


def test_of_equally_probable_tokens_the_first_is_taken() -> None:
    model = translator(tie_embeddings=False)
    with torch.no_grad():
        model.output.weight[20:40] = model.output.weight[20]
        model.output.weight[60] = model.output.weight[20]
    with torch.inference_mode(), compiled(model, 1, 1, True):
        for _, ids in zip(*best_of_beams(model, 1, 8), strict=True):
            for row in ids.flatten(0, 1).tolist():
                equal = [i for i in row if 20 <= i < 40 or i == 60]
                assert equal == list(range(20, 20 + len(equal)))


def test_a_softcap_leaves_the_choice_to_torch() -> None:
    model = translator(logit_softcap=5.0)
    with torch.inference_mode():
        log_p, _ = best_of_beams(model, 1, 2)
        with compiled(model, 1, 1, True):
            assert model.likeliest(torch.tensor([[5]]), None, 1, torch.tensor([1]), {}) is None  # type: ignore[arg-type]
            torch.testing.assert_close(best_of_beams(model, 1, 2)[0], log_p, rtol=1e-5, atol=4e-6)


def test_learned_positions_end() -> None:
    model = translator(positions="learned", max_length=9)
    said = pytest.raises(UserError, match="10 tokens exceeds the 9 learned positions")
    with torch.inference_mode(), compiled(model, 1, 1, True), said:
        best_of_beams(model, 1, 1)


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("options", TRANSLATORS.values(), ids=TRANSLATORS)
def test_sources_that_are_read_at_once(options: dict[str, Any], padded: bool) -> None:
    model = translator(**options)
    source = torch.randint(4, 101, (3, 11), generator=torch.Generator().manual_seed(1))
    if padded:
        source[0, 6:], source[1, 10:] = 1, 1
    padding = model.padding(source)
    with torch.inference_mode():
        by_layers = model.encode(source, padding)
        with compiled(model, 3, 1, True):
            together = model.encode(source, padding)
            long = model.encode(source.repeat(1, 2))  # 66 rows: layer by layer
    real = source != 1  # what stands at padding is of no use, and nothing looks at it
    torch.testing.assert_close(together[real], by_layers[real], rtol=1e-5, atol=2e-6)
    assert not torch.equal(together, by_layers) and model.reader is None
    assert torch.equal(long, model.encode(source.repeat(1, 2)))


def test_bits_do_not_depend_on_threads() -> None:
    before, found = torch.get_num_threads(), []
    translators = [translator(d_ff=128), *(translator(d_ff=128) for _ in LOWER)]
    for method, model in zip(LOWER.values(), translators[1:], strict=True):
        method.apply(model, MethodContext(PAIRS))
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append([both(writer(), of_texts([4] * 8))[1]])
            with torch.inference_mode():
                for model in translators:
                    with compiled(model, 1, 1, True):
                        found[-1] += best_of_beams(model, 1, 5)
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


def test_two_models_and_two_searches_in_turn_do_not_meet() -> None:
    models = [translator(positions="rotary"), translator(positions="rotary", norm="post")]
    with torch.inference_mode():
        alone = [best_of_beams(model, 1, 2)[0] for model in models]
        with compiled(models[0], 1, 1, True), compiled(models[1], 1, 1, True):
            random = torch.Generator().manual_seed(1)
            source = torch.randint(4, 101, (1, 9), generator=random)
            tokens = [torch.randint(4, 101, (1, 2), generator=random) for _ in range(2)]
            caches = [m.start_cache(m.encode(source), None, 20, 2) for m in [*models, models[0]]]
            allowed = NextToken(PAIRS, torch.tensor([12]), 4)
            for length in (1, 2):
                for model, cache, wanted in zip(
                    [*models, models[0]], caches, [*alone, alone[0]], strict=True
                ):
                    found, _ = allowed.best(model, tokens[length - 1], cache, length, 2)
                    torch.testing.assert_close(found, wanted[length - 1], rtol=1e-5, atol=4e-6)
                    if length == 2:
                        continue
                    # as best_of_beams does not reorder before the third step
                    assert cache.own.length == 1


@pytest.mark.parametrize("positions", ["rotary", "sinusoidal"])
def test_tables_that_grow_meanwhile(positions: str) -> None:
    """A search may go further than training has: the tables grow, and training may go on."""
    model, whole = (translator(positions=positions, max_length=n) for n in (3, 40))
    with torch.inference_mode():
        wanted, _ = best_of_beams(whole, 1, 2)
        with compiled(model, 1, 1, True):
            found, _ = best_of_beams(model, 1, 2)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=4e-6)
    logits = model.train()(torch.tensor([[5, 6, 7, 3]]), torch.tensor([[2, 5, 6, 7]]))
    logits.sum().backward()


LOWER = {"int8": Int8(Int8.Config()), "bf16": Bf16(Bf16.Config())}


@pytest.mark.parametrize("d_ff", [96, 128])  # by floats, and where the processor can by bytes
@pytest.mark.parametrize("method", LOWER.values(), ids=LOWER)
def test_weights_in_fewer_bits_are_multiplied_as_they_are_kept(method: Any, d_ff: int) -> None:
    model, exact = translator(d_ff=d_ff), translator(d_ff=d_ff)
    method.apply(model, MethodContext(PAIRS))
    kept = dict(model.named_modules())
    with torch.no_grad():  # the same model with its stored weights as floats
        for name, module in exact.named_modules():
            if isinstance(module, nn.Linear):
                module.weight.copy_(kept[name].dequantize())  # type: ignore[operator]
        exact.target_embedding.weight.copy_(model.target_embedding.stored.dequantize())
    memory = torch.randn(1, 6, 64, generator=torch.Generator().manual_seed(0))
    found = []
    with torch.inference_mode():
        for one in (exact, model):
            cache = exact.start_cache(memory, None, 10)  # keys of a memory come from its layers
            one.stack = Stack(*one.stacked())
            rows = [
                torch.randn(1, 1, 64, generator=torch.Generator().manual_seed(i)) for i in range(8)
            ]
            for x in rows:
                cache.own.extend(torch.zeros(1, 1))
                hidden = one.stack(x, cache.own, None, None, cache.memory, None)
                found.append(one.stack.project(hidden))
    by_bytes = method is LOWER["int8"] and d_ff == 128 and has_dots()
    assert model.stack.dots == by_bytes
    for a, b in zip(found[:8], found[8:], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=3e-4 if by_bytes else 1e-5)


@pytest.mark.parametrize("method", LOWER.values(), ids=LOWER)
def test_embeddings_in_fewer_bits(method: Any) -> None:
    model, exact = translator(), translator()
    method.apply(model, MethodContext(PAIRS))
    with torch.no_grad():
        for name, module in exact.named_modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                kept: Any = model.get_submodule(name)
                module.weight.copy_(kept.stored.dequantize())
    memory, found = torch.randn(1, 6, 64, generator=torch.Generator().manual_seed(0)), []
    with torch.inference_mode():
        for one in (exact, model):
            cache = exact.start_cache(memory, None, 20)  # keys of a memory come from its layers
            with compiled(one, 1, 1, True):
                steps = [
                    one.likeliest(torch.tensor([[token]]), cache, 4, torch.tensor([1, 2]), {})
                    for token in range(4, 20)
                ]
                found.append([step for step in steps if step is not None])
    assert len(found[0]) == len(found[1]) == 16
    for (log_p, ids), (its_log_p, its_ids) in zip(*found, strict=True):
        torch.testing.assert_close(its_log_p, log_p, rtol=1e-4, atol=1e-5)
        assert torch.equal(its_ids, ids)


@pytest.mark.parametrize("method", [None, *LOWER.values()], ids=["float32", *LOWER])
def test_what_is_no_number_stays_so(method: Any) -> None:
    model = translator(d_ff=128)
    with torch.no_grad():
        model.decoder[0].feed_forward_norm.weight[3] = torch.nan  # type: ignore[index, union-attr]
    if method is not None:
        method.apply(model, MethodContext(PAIRS))
    with torch.inference_mode(), compiled(model, 1, 1, True):
        assert best_of_beams(model, 1, 2)[0].isnan().any()


def test_nothing_is_written_beyond_the_end_of_a_cache() -> None:
    model = writer(positions="rotary")
    cache = model.start_cache(1, 4)
    with torch.inference_mode(), compiled(model, 1, 1, True):
        for _ in range(4):
            model.next_logits(torch.ones(1, 1, dtype=torch.long), cache)
        with pytest.raises(IndexError, match="no room for slot 5"):
            model.next_logits(torch.ones(1, 1, dtype=torch.long), cache)


def test_searches_and_samples_come_out_the_same() -> None:
    model = translator()
    sources = [[5, 6, 7, 9, 3], [8, 3], [9, 10, 11, 12, 13, 14, 15, 3]]
    for kind, options in ((Greedy, {}), (Beam, {"beam_size": 2}), (Beam, {"beam_size": 8})):
        found = []
        for asked in (False, True):
            decoder: Any = kind(kind.Config(compiled=asked, **options))
            found.append(decoder.generate_all(model, sources, PAIRS, 1 if options else 3))
        assert [h.ids for h in found[0]] == [h.ids for h in found[1]]
        for a, b in zip(*found, strict=True):
            assert a.log_probability == pytest.approx(b.log_probability, rel=1e-5)
    text = writer(positions="rotary")
    for temperature in (0.0, 1.0):
        drawn = [
            Sampling(
                Sampling.Config(temperature=temperature, max_new_tokens=60, compiled=asked)
            ).generate_batch(text, [[5], [6, 7, 8, 9]], TEXT)  # beyond the block of 40
            for asked in (False, True)
        ]
        assert drawn[0] == drawn[1]


def test_it_is_taken_where_its_compiling_is_won_back(monkeypatch: pytest.MonkeyPatch) -> None:
    model = writer()
    for rows, steps, asked, there in (
        (1, 100, None, False),
        (1, 3000, None, True),
        (MOST + 1, 3000, None, False),
        (MOST + 1, 3000, True, False),  # nor where fewer are left of them
        (1, 3000, False, False),
        (1, 1, True, True),
    ):
        with compiled(model, rows, steps, asked):
            assert (model.stack is not None) == there
        assert model.stack is None
    with compiled(model, 1, 1, True):
        outer = model.stack
        with compiled(model, 1, 1, None):
            assert model.stack is outer
        with compiled(model, MOST + 1, 1, None):
            assert model.stack is None
        assert model.stack is outer
    with pytest.raises(ZeroDivisionError), compiled(model, 1, 1, True):
        raise ZeroDivisionError
    assert model.stack is None
    monkeypatch.setattr(model, "reads", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError), compiled(model, 1, 1, True):
        pass
    assert model.stack is None


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"value_embeddings": True}, "blocks of a Transformer alone"),
        ({"residual_scalars": True}, "blocks of a Transformer alone"),
        ({"d_ff": 100}, "widths must be multiples of 32"),
        ({"n_heads": 4}, "heads must have a multiple of 32 numbers"),
    ],
)
def test_what_it_cannot_do_is_refused_where_it_is_asked_for(
    options: dict[str, Any], why: str
) -> None:
    torch.manual_seed(0)
    model = GPT(GPT.Config(**{"d_model": 64, "n_heads": 2, "n_layers": 2, **options}), TEXT).eval()
    with compiled(model, 1, 10_000, None):
        assert model.stack is None
    with pytest.raises(UserError, match=why):
        Sampling(Sampling.Config(max_new_tokens=3, compiled=True)).generate_batch(
            model, [[1, 2]], TEXT
        )


def test_layers_that_a_method_changed_and_other_types_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    adapted = writer()
    LoRA(LoRA.Config()).apply(adapted, MethodContext(TEXT))
    some = writer()
    Int8(Int8.Config(targets=["mlp"], embedding=False)).apply(some, MethodContext(TEXT))
    asked = writer()
    Int8(Int8.Config(path="integer", activation_bits="8")).apply(asked, MethodContext(TEXT))
    for model, why in (
        (adapted, "as LoRA"),
        (asked, "as Int8Linear"),  # another arithmetic was asked for
        (some, "not float32, int8"),
        (writer().bfloat16(), "norms and biases"),
        (writer().double(), "not float64"),
    ):
        with pytest.raises(UserError, match=why), compiled(model, 1, 10, True):
            pass
    part = OwnPart("attention", "mine.py", "0" * 64, True, "mine.py")
    with in_place(part):
        with compiled(writer(), 1, 10_000, None) as taken:
            assert not taken
        with pytest.raises(UserError, match="attention of mine"), compiled(writer(), 1, 1, True):
            pass
    monkeypatch.setattr(fitting, "is_here", lambda: False)
    with pytest.raises(MissingPackageError, match="numba"), compiled(writer(), 1, 10, True):
        pass

from __future__ import annotations

import pytest
import torch

from scratchlab.data.contract import Seq2SeqBatch, Spec
from scratchlab.models.transformer_mt import TransformerMT
from scratchlab.tasks.seq2seq import Seq2Seq

PAD = 1
SPEC = Spec(
    task="seq2seq",
    vocab_size=30,
    source_vocab_size=30,
    shared_vocabulary=True,
    unk_id=0,
    pad_id=PAD,
    sos_id=2,
    eos_id=3,
)


def model(dropout: float = 0.0) -> TransformerMT:
    torch.manual_seed(0)
    config = TransformerMT.Config(
        d_model=16, n_heads=2, d_ff=32, encoder_layers=1, decoder_layers=1, dropout=dropout
    )
    return TransformerMT(config, SPEC)


def batch() -> Seq2SeqBatch:
    torch.manual_seed(1)
    source, target = torch.randint(4, 30, (4, 7)), torch.randint(4, 30, (4, 6))
    source[1, 3:], target[0, 4:], target[2, 2:] = PAD, PAD, PAD
    start = torch.full((4, 1), 2)
    return Seq2SeqBatch(source, torch.cat([start, target[:, :-1]], 1), target, torch.arange(4))


def task(**options: object) -> Seq2Seq:
    return Seq2Seq(Seq2Seq.Config(**options), SPEC)


def test_the_loss_is_a_sum_over_real_targets_with_torchs_label_smoothing() -> None:
    net, pairs = model(), batch()
    loss = task(label_smoothing=0.2).loss(net, pairs)
    logits, target = net(pairs.source, pairs.target_in).flatten(0, 1), pairs.target_out.flatten()
    expected = torch.nn.functional.cross_entropy(
        logits, target, ignore_index=PAD, reduction="sum", label_smoothing=0.2
    )
    plain = torch.nn.functional.cross_entropy(logits, target, ignore_index=PAD, reduction="sum")
    assert loss.count == 18
    assert loss.total.item() == pytest.approx(expected.item(), rel=1e-5)
    assert loss.nll.item() == pytest.approx(plain.item(), rel=1e-5)
    assert not loss.nll.requires_grad


def test_fused_and_plain_loss_train_alike() -> None:
    gradients = []
    for fused in (True, False):
        net = model(dropout=0.3).train()
        torch.manual_seed(5)
        task(fused_loss=fused).loss(net, batch()).total.backward()
        gradients.append([p.grad for p in net.parameters()])
    for a, b in zip(*gradients, strict=True):
        assert a is not None and b is not None
        assert torch.allclose(a, b, atol=1e-4)


def test_evaluation_smooths_no_labels() -> None:
    net = model().eval()
    with torch.no_grad():
        loss = task(label_smoothing=0.2).loss(net, batch())
    assert loss.total.item() == loss.nll.item()


def test_losses_of_parts_add_up_to_the_loss_of_the_whole() -> None:
    net, whole = model(), batch()
    parts = [Seq2SeqBatch(*(t[i : i + 1] for t in vars(whole).values())) for i in range(4)]
    losses = [task().loss(net, part) for part in parts]
    expected = task().loss(net, whole)
    assert sum(loss.count for loss in losses) == expected.count
    assert sum(loss.total.item() for loss in losses) == pytest.approx(expected.total.item(), 1e-5)


def test_a_few_steps_learn_to_copy() -> None:
    net = model()
    torch.manual_seed(3)
    text = torch.randint(4, 30, (32, 5))
    pairs = Seq2SeqBatch(
        text, torch.cat([torch.full((32, 1), 2), text[:, :-1]], 1), text, torch.arange(32)
    )
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(60):
        loss = task(label_smoothing=0.0).loss(net, pairs)
        optimizer.zero_grad()
        (loss.total / loss.count).backward()
        optimizer.step()
    assert loss.nll.item() / loss.count < 0.5


def test_the_loss_of_an_example_batch_can_be_counted_without_memory() -> None:
    with torch.device("meta"):
        net = model()
    example = task().example_batch(3, 5, "meta")
    assert example.source.shape == (3, 5)
    loss = task().loss(net, example)
    assert loss.count == 15
    loss.total.backward()


def test_an_example_batch_holds_no_padding() -> None:
    example = task().example_batch(8, 11)
    for ids in (example.source, example.target_in, example.target_out):
        assert ids.shape == (8, 11)
        assert int(ids.min()) > PAD and int(ids.max()) < 30

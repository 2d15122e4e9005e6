"""Word-level distillation beside the formula written out with torch's own losses."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from scratchlab.data.contract import IGNORE, ArrayBatch, Seq2SeqBatch, Spec, TokenBatch
from scratchlab.errors import UserError
from scratchlab.models.cnn import CNN
from scratchlab.models.gpt import GPT
from scratchlab.models.transformer_mt import TransformerMT
from scratchlab.tasks import taught as module
from scratchlab.tasks.classification import Classification
from scratchlab.tasks.contract import Loss, Task
from scratchlab.tasks.language_modeling import LanguageModeling
from scratchlab.tasks.regression import Regression
from scratchlab.tasks.seq2seq import Seq2Seq
from scratchlab.tasks.taught import Lesson, taught
from tests.tasks.test_seq2seq import PAD
from tests.tasks.test_seq2seq import SPEC as PAIRS
from tests.tasks.test_seq2seq import batch as pairs

TEXT = Spec(task="language_modeling", vocab_size=23, max_length=9)
IMAGES = Spec(task="classification", n_classes=4, image_shape=(1, 12, 12), n_features=144)


def translator(width: int) -> TransformerMT:
    torch.manual_seed(width)
    options = {"d_model": width, "n_heads": 2, "d_ff": 32, "dropout": 0.0}
    return TransformerMT(TransformerMT.Config(**options, encoder_layers=1, decoder_layers=1), PAIRS)


def writer(width: int) -> GPT:
    torch.manual_seed(width)
    return GPT(GPT.Config(d_model=width, n_heads=2, n_layers=1, block_size=16), TEXT)


def images(width: int) -> CNN:
    torch.manual_seed(width)
    return CNN(CNN.Config(channels=[width], dense=8, dropout=0.0), IMAGES)


def words() -> TokenBatch:
    torch.manual_seed(2)
    text = torch.randint(0, 23, (3, 10))
    targets = text[:, 1:].clone()
    targets[1, 4:] = IGNORE
    return TokenBatch(text[:, :-1], targets, torch.arange(3))


def pictures() -> ArrayBatch:
    torch.manual_seed(3)
    return ArrayBatch(torch.rand(5, 1, 12, 12), torch.arange(5) % 4, torch.arange(5))


def seen(model: Any, batch: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """All logits at the places that count, and what is right there, without the task's help."""
    if isinstance(batch, Seq2SeqBatch):
        logits, target = model(batch.source, batch.target_in), batch.target_out
        return logits[target != PAD], target[target != PAD]
    if isinstance(batch, TokenBatch):
        logits = model(batch.tokens)
        return logits[batch.targets != IGNORE], batch.targets[batch.targets != IGNORE]
    return model(batch.inputs), batch.targets


def written_out(
    student: Any, teachers: list[Any], batch: Any, weight: float, t: float, smoothing: float
) -> torch.Tensor:
    logits, target = seen(student, batch)
    q = torch.stack([(seen(one, batch)[0] / t).softmax(-1) for one in teachers]).mean(0)
    hard = F.cross_entropy(logits, target, reduction="sum", label_smoothing=smoothing)
    soft = torch.nn.KLDivLoss(reduction="sum")((logits / t).log_softmax(-1), q.detach())
    return (1 - weight) * hard + weight * t**2 * soft


CASES: dict[str, tuple[Any, Any, Any]] = {
    "seq2seq": (translator, pairs, lambda s: Seq2Seq(Seq2Seq.Config(label_smoothing=s), PAIRS)),
    "language_modeling": (
        writer,
        words,
        lambda s: LanguageModeling(LanguageModeling.Config(label_smoothing=s), TEXT),
    ),
    "classification": (
        images,
        pictures,
        lambda s: Classification(Classification.Config(label_smoothing=s), IMAGES),
    ),
}


def gradients(model: torch.nn.Module, loss: torch.Tensor) -> list[torch.Tensor]:
    return list(torch.autograd.grad(loss, list(model.parameters()), allow_unused=False))


@pytest.mark.parametrize("kind", CASES)
@pytest.mark.parametrize(
    ("weight", "temperature", "smoothing"), [(0.5, 1.0, 0.0), (0.3, 2.5, 0.1), (1.0, 4.0, 0.1)]
)
@pytest.mark.parametrize("chunks", [False, True])
def test_the_loss_and_its_gradients_equal_torchs_losses_written_out(
    kind: str,
    weight: float,
    temperature: float,
    smoothing: float,
    chunks: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of two teachers the mean counts; in chunks of rows as well as at once."""
    build, make, of = CASES[kind]
    student, teachers, batch = build(8), [build(16).eval(), build(12).eval()], make()
    if chunks:
        monkeypatch.setattr(module, "AT_ONCE", 1)  # the fewest rows that a chunk has
    task = taught(of(smoothing), Lesson(teachers, temperature, weight))
    loss: Loss = task.loss(student.train(), batch)
    expected = written_out(student, teachers, batch, weight, temperature, smoothing)
    logits, target = seen(student, batch)
    plain = F.cross_entropy(logits, target, reduction="sum")
    assert loss.count == len(target)
    assert loss.total.item() == pytest.approx(expected.item(), rel=1e-5)
    assert loss.nll.item() == pytest.approx(plain.item(), rel=1e-5)
    pairs_of = zip(gradients(student, loss.total), gradients(student, expected), strict=True)
    for found, right in pairs_of:
        torch.testing.assert_close(found, right, rtol=1e-4, atol=1e-5)
    assert all(p.grad is None for teacher in teachers for p in teacher.parameters())


def test_a_student_that_is_its_own_teacher_has_nothing_to_learn_from_it() -> None:
    student, batch = translator(8), pairs()
    task = taught(Seq2Seq(Seq2Seq.Config(), PAIRS), Lesson([student], 3.0, 1.0))
    loss = task.loss(student.train(), batch)
    assert loss.total.item() == pytest.approx(0, abs=1e-4)


def test_it_is_measured_by_the_loss_of_the_task() -> None:
    plain: Task = Seq2Seq(Seq2Seq.Config(label_smoothing=0.1), PAIRS)
    task = taught(plain, Lesson([translator(16).eval()], 1.0, 0.5))
    student, batch = translator(8).eval(), pairs()
    assert torch.equal(task.loss(student, batch).total, plain.loss(student, batch).total)


def test_a_task_of_numbers_has_no_distribution_to_learn() -> None:
    spec = Spec(task="regression", n_features=2)
    task = taught(Regression(Regression.Config(), spec), Lesson([], 1.0, 0.5))
    with pytest.raises(UserError, match="not a distribution"):
        task.loss(torch.nn.Linear(2, 1), None)

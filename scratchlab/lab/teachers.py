"""The teachers of a training (method=distill): other runs, opened, compared with the student.

What they have a say in is the task of the training (its loss) and its data set (the targets). The
student's model is not touched, so a trained run is measured without them.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scratchlab.config.check import check
from scratchlab.config.reading import read_json
from scratchlab.data.contract import Dataset, TranslationDataset
from scratchlab.data.kinds.pairs import PairDataset
from scratchlab.data.sources.reading import sha256_of
from scratchlab.errors import ConfigError, UserError
from scratchlab.lab.parts import Parts, Trained, load_trained
from scratchlab.lab.weights import checkpoint_folder
from scratchlab.registry import build, find, is_estimator
from scratchlab.run.decisions import cache_folder
from scratchlab.run.folder import find_run, read_config

if TYPE_CHECKING:
    from scratchlab.methods.contract import Arithmetic
    from scratchlab.methods.distill import Distill
    from scratchlab.tasks.contract import Task

NAME = "distill"
KEY = f"method.{NAME}.teachers"
OF_THE_STUDENT = (
    *("threads", "device", "deterministic", "keep_memory"),
    *("data_dir", "cache_dir", "output_dir", "seed"),
)
BETWEEN_MESSAGES = 10.0  # seconds


@dataclass(frozen=True)
class Teacher:
    """A trained run; ``checkpoint`` with the hash of its weights."""

    trained: Trained
    checkpoint: Path
    sha256: str

    @property
    def identity(self) -> dict[str, Any]:
        """What its outputs depend on (JSON)."""
        config, dataset = self.trained.config, self.trained.dataset
        kept = {key: config[key] for key in ("model", "method")}
        return {**kept, "weights": self.sha256, "vocabulary": vocabulary(dataset)}


def method_of(parts: Parts) -> Distill | None:
    """The method that asks for teachers, if one does."""
    found: Any = (m for m in parts.adapted.methods if m.registered_name == NAME)
    return next(found, None)


def teach(parts: Parts, tell: Callable[[str], None]) -> dict[str, Any]:
    """Let the task and the data set of a training be those that its teachers have a say in.

    ``tell`` hears what takes long. Returns what a manifest says of it, nothing without teachers.
    """
    method = method_of(parts)
    if method is None:
        return {}
    teachers = open_teachers(parts, method)
    named = {str(t.checkpoint): t.sha256 for t in teachers}
    record: dict[str, Any] = {"teachers": named}
    if method.by_sequences:
        parts.dataset, record["targets"] = _with_their_targets(parts, method, teachers, tell)
    if method.by_words:
        parts.task = _task(parts, method, teachers)
    return {"taught_by": record}


def taught_task(parts: Parts) -> Task:
    """The task of a training with what teachers say of words, as far as they say something."""
    method = method_of(parts)
    if method is None or not method.by_words:
        task: Task = parts.task
        return task
    return _task(parts, method, open_teachers(parts, method))


def tables(parts: Parts) -> list[Arithmetic]:
    """The teachers beside the student, for ``inspect``."""
    from scratchlab.methods.contract import Arithmetic

    method = method_of(parts)
    if method is None:
        return []
    student = parts.adapted.parameter_counts()[0] or 1
    rows = []
    for teacher in open_teachers(parts, method):
        own = teacher.trained.adapted.parameter_counts()[0] or 0
        name = teacher.trained.config["model"]["name"]
        rows.append((str(teacher.checkpoint), name, f"{own:,}", f"{own / student:.2f}"))
    return [Arithmetic("Teachers", ("checkpoint", "model", "parameters", "of the student's"), rows)]


def open_teachers(parts: Parts, method: Distill) -> list[Teacher]:
    """All teachers that a method names; UserError for the first that cannot teach this student."""
    found = [_open(name, parts.config) for name in method.config.teachers]
    for teacher in found:
        _check_task(teacher, parts)
        if method.by_words:
            _check_vocabulary(teacher, parts.dataset, "this run")
            _check_batches(teacher, parts)
        if method.by_sequences:
            _check_vocabulary(teacher, found[0].trained.dataset, str(found[0].checkpoint))
            _check_languages(teacher, parts.dataset)
    return found


def in_their_places(config: Mapping[str, Any]) -> dict[str, Any]:
    """The methods of a configuration with teachers named by where they lie, so that they are found
    from other folders of runs too."""
    found = dict(config["method"])
    for key, entry in found.items():
        if entry["name"] == NAME:
            places = [str(_place(name, config)) for name in entry["teachers"]]
            found[key] = {**entry, "teachers": places}
    return found


def _place(name: str, config: Mapping[str, Any]) -> Path:
    try:
        return checkpoint_folder(find_run(name, config["output_dir"]), "best")
    except UserError as error:
        raise UserError(f"{KEY}: {error.message}", error.hint) from error


def _open(name: str, config: Mapping[str, Any]) -> Teacher:
    """A teacher on the machine of the student, in ``eval()`` mode and without gradients."""
    folder = _place(name, config)
    saved, faults = check(read_config(folder / "config.yaml"))
    if faults:
        raise ConfigError([*faults])
    if is_estimator(saved):
        problem = f"{folder} holds the estimator {saved['model']['name']}, which gives no logits"
        raise UserError(f"{KEY}: {problem}", "Teachers are runs of torch models.")
    taken = {key: config[key] for key in OF_THE_STUDENT}
    trained = load_trained({**saved, **taken, "evaluate_checkpoint": "best"}, folder)
    trained.model.requires_grad_(False).to(trained.device)
    files = [sha256_of(folder / name) for name in ("model.safetensors", "config.yaml")]
    return Teacher(trained, folder, hashlib.sha256("".join(files).encode()).hexdigest())


# --- do they fit? -------------------------------------------------------------------------------


def _check_task(teacher: Teacher, parts: Parts) -> None:
    theirs, own = teacher.trained.config["task"]["name"], parts.config["task"]["name"]
    if theirs != own:
        raise UserError(
            f"{KEY}: {teacher.checkpoint} was trained for {theirs}, and this run is for {own}",
            f"Name a run whose task is {own}.",
        )


def _check_vocabulary(teacher: Teacher, dataset: Dataset, whose: str) -> None:
    """What turns inputs into numbers, and the names of classes, must be the same for both."""
    theirs, own = vocabulary(teacher.trained.dataset), vocabulary(dataset)
    different = [n for n in sorted({*theirs, *own}) if theirs.get(n) != own.get(n)]
    if different:
        raise UserError(
            f"{KEY}: {teacher.checkpoint} has another vocabulary than {whose} "
            f"({', '.join(different)}): their ids and classes do not mean the same",
            "Train both on the same data set with the same options of its tokens, or let the "
            "teacher write the targets (method.distill.level=sequence).",
        )


def _check_batches(teacher: Teacher, parts: Parts) -> None:
    """A teacher must be able to read the student's batches."""
    from scratchlab.models.contract import Model

    model, dataset = teacher.trained.model, parts.dataset
    longest = dataset.spec.max_length
    if model.block_size is not None and longest and longest > model.block_size:
        raise UserError(
            f"{KEY}: {teacher.checkpoint} reads {model.block_size} tokens at most, and this run's "
            f"texts have up to {longest}",
            f"Set dataset.block_size={model.block_size} (of other texts dataset.max_length).",
        )
    streams = getattr(getattr(dataset, "config", None), "batching", "") == "stream"
    if streams and type(model).carried_state is not Model.carried_state:
        raise UserError(
            f"{KEY}: {teacher.checkpoint} carries its state from batch to batch, which a run that "
            "goes on could not give back to it",
            "Set dataset.batching=shuffled.",
        )


def _check_languages(teacher: Teacher, dataset: Dataset) -> None:
    """A teacher that writes the targets must write what the student is to write."""
    theirs = teacher.trained.dataset
    if not isinstance(theirs, TranslationDataset) or not isinstance(dataset, PairDataset):
        raise UserError(f"{KEY}: only of sentence pairs can the targets be written anew")
    if theirs.lower_cased and not dataset.lower_cased:
        raise UserError(
            f"{KEY}: {teacher.checkpoint} writes lower case only, and this run does not",
            f"Choose dataset.tokenizer={dataset.target_tokenizer.kind} for the teacher too.",
        )
    turned = [getattr(getattr(one, "config", None), "reverse", False) for one in (theirs, dataset)]
    if turned[0] != turned[1]:
        raise UserError(
            f"{KEY}: {teacher.checkpoint} translates the other way round",
            f"Its dataset.reverse is {str(turned[0]).lower()}, this run's is not.",
        )


def vocabulary(dataset: Dataset) -> dict[str, Any]:
    """What a checkpoint keeps of how a data set turns inputs into numbers: content by file."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        dataset.save_vocabulary(Path(folder))
        for path in sorted(Path(folder).iterdir()):
            if path.suffix == ".json":
                found[path.name] = _content(read_json(path))
            else:
                found[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def _content(value: Any) -> Any:
    """Without how long a text may be, which changes no id."""
    if not isinstance(value, dict):
        return value
    left_out = ("max_length", "max_source_length")
    return {k: _content(v) for k, v in value.items() if k not in left_out}


# --- what they say ------------------------------------------------------------------------------


def _task(parts: Parts, method: Distill, teachers: Sequence[Teacher]) -> Task:
    from scratchlab.tasks.taught import Lesson, taught

    models = [teacher.trained.model for teacher in teachers]
    return taught(parts.task, Lesson(models, method.config.temperature, method.config.weight))


def _with_their_targets(
    parts: Parts, method: Distill, teachers: Sequence[Teacher], tell: Callable[[str], None]
) -> tuple[PairDataset, str]:
    """The data set whose training targets the teachers have written, and the hash of these."""
    from scratchlab.decoding.written_anew import Writer, written_anew
    from scratchlab.models.ensemble import Ensemble

    dataset = parts.dataset
    assert isinstance(dataset, PairDataset)
    models = [teacher.trained.model for teacher in teachers]
    beam = {"name": "beam", **find("decoding", "beam").defaults(), **method.search}
    identity = {"teachers": [teacher.identity for teacher in teachers], "search": beam}
    closest = method.config.choose == "closest"
    writer = Writer(
        models[0] if len(models) == 1 else Ensemble(models).eval(),
        teachers[0].trained.dataset,  # type: ignore[arg-type]
        build("decoding", beam),
        {**identity, "closest": closest},
        closest,
    )
    sources, targets = dataset.sources("train"), dataset.references("train")
    progress = _Progress(len(sources), tell)
    texts = written_anew(writer, sources, targets, cache_folder(parts.config), progress)
    other = sum(a != b for a, b in zip(texts, targets, strict=True))
    found = dataset.with_targets("train", texts, method.config.keep_targets)
    found.remark(
        [f"the teachers wrote {len(texts):,} training targets, {other:,} other than the given ones"]
    )
    return found, hashlib.sha256(json.dumps(texts).encode()).hexdigest()


class _Progress:
    """Says now and then how many targets are written, and how long the rest will take."""

    def __init__(self, total: int, tell: Callable[[str], None]) -> None:
        self.total, self.tell = total, tell
        self.began = self.said = time.monotonic()

    def __call__(self, done: int) -> None:
        now = time.monotonic()
        if now - self.said < BETWEEN_MESSAGES:
            return
        self.said = now
        left = (now - self.began) / done * (self.total - done)
        self.tell(
            f"the teachers have written {done:,} of {self.total:,} training targets, "
            f"{left / 60:.0f} min left"
        )

"""Makes the tables of the documentation from the records in docs/results/*.json.

    python scripts/results.py            write docs/results.md and the tables between markers
    python scripts/results.py --check    fail if a page is not what the records say

A record is written by `scratchlab suite NAME --record`, `scratchlab train … --record` and
`python scripts/bench_NAME.py --record`. A page takes the tables of a record, or the best of all,
between two comments:

    <!-- results: NAME -->  …  <!-- /results -->      NAME*: of all records that begin so
    <!-- results: highlights -->  …  <!-- /results -->
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NamedTuple

from scratchlab.reporting.tables import ARROWS, markdown

ROOT = Path(__file__).resolve().parents[1]
MARKED = re.compile(r"(<!-- results: (\S+) -->\n).*?(<!-- /results -->)", re.DOTALL)
HASH_SHOWN = 8

# Section → record → heading and picture (of docs/images). Records that are not named stand last.
SECTIONS: dict[str, dict[str, tuple[str, str]]] = {
    "Translation": {
        "transformer_mt-phrasebook_en_fr": ("The demo", "attention.png"),
        "multi30k_en_fr": ("English to French, Multi30k", "multi30k_bleu.png"),
        "multi30k_choices": ("One choice at a time", ""),
        "attention": ("With and without attention", "attention_by_length.png"),
        "attention_embedded": (
            "With and without attention, without files",
            "attention_embedded_by_length.png",
        ),
        "positions_mt": ("Positions in translation", ""),
        "transformer_sizes": ("Sizes of a Transformer", ""),
    },
    "Language models": {
        "language_models": ("Counts, recurrence, attention", "perplexity_by_length.png"),
        "language_models_python_docs": ("Without files", ""),
        "shakespeare_char": ("Characters of Shakespeare", ""),
        "positions": ("Positions", ""),
        "biographies": ("What reading teaches", ""),
        "birthplaces_quick": ("What reading teaches, on real texts", "birthplaces.png"),
    },
    "Words, sentences, passages": {
        "embeddings": ("Word vectors", "word_map.png"),
        "embeddings_embedded": ("Word vectors, without files", ""),
        "text_classification": ("Classes of sentences", ""),
        "text_classification_sst2": ("Classes of sentences, SST-2", ""),
        "text_classification_embedded": ("Classes of texts, without files", ""),
        "masked_words": ("Few labels, masked words first", ""),
        "retrieval": ("Passages for a query", "recall_curve.png"),
        "rag": ("Answers from documents", ""),
    },
    "Tables, images, ensembles": {
        "wine": ("Wine quality", ""),
        "wine_embedded": ("Wines, without files", ""),
        "boston": ("Boston housing", ""),
        "boston_embedded": ("Diabetes, without files", ""),
        "mnist": ("MNIST", "denoising.png"),
        "mnist_embedded": ("Digits, without files", ""),
        "ensembles": ("Ensembles", "bagging.png"),
        "ensembles_embedded": ("Ensembles, without files", ""),
    },
    "Methods on a model": {
        "summarization": ("Summaries of news", ""),
        "summarization_docstrings": ("Summaries of docstrings", "summarization.png"),
        "bert_lora": ("LoRA on a small BERT", ""),
        "quantization": ("Quantization", "quantization.png"),
        "shakespeare_pretrained": ("Shakespeare by a pretrained model", ""),
    },
    "Speed and memory": {
        "bench_classical": ("The NumPy MLP", ""),
        "bench_translation": ("Training a translator", ""),
        "bench_decoding": ("Translating", ""),
        "bench_language_models": ("Language models", ""),
        "bench_pretrained": ("Fine-tuning", ""),
        "bench_quantization": ("Products with 4-bit weights", ""),
        "bench_embeddings": ("Word vectors beside gensim", ""),
        "bench_reading": ("From the command to the first update", ""),
        "bench_overhead": ("What commands and the loop cost", ""),
        "bench_scaling": ("A second process", ""),
        "bench_search": ("Searches in equal time", ""),
        "bench_memory": ("Memory of training", ""),
    },
}
# What a record shows, in a sentence without figures: those stand in its table.
FINDINGS: dict[str, str] = {
    "embeddings": "All that learn from windows are above gensim's figures at its settings; "
    "n-grams of characters answer the analogies that are about grammar.",
    "attention_embedded": "One last state cannot hold a sentence, least of all a long one; with "
    "a look at every word of the source recurrent networks translate most of them.",
    "attention": "A look at every word of the source is worth far more than a better cell; the "
    "longer a sentence, the smaller the share of it that one last state can translate. The "
    "Transformer leads at every length.",
    "positions_mt": "Told by angles, fixed or rotary, order is learned soonest; learned positions "
    "need more reading, and without any the encoder sees a bag of words, which still tells a lot.",
    "transformer_sizes": "Of a small text read once, what learns fastest wins: a wide model and no "
    "dropout; a second layer gives much, a fourth little, and heads matter least.",
    "text_classification": "From nine thousand sentences filters, recurrent networks and an "
    "encoder from nothing learn what counting words tells, not more; a pretrained encoder is ahead "
    "of all. Vectors learned from Wikipedia's text give little; frozen, they are not enough.",
    "text_classification_sst2": "More text brings networks level with counting, vectors "
    "learned elsewhere now help, and a pretrained encoder is far ahead.",
    "text_classification_embedded": "A topic is in its words: counting them is ahead of all that "
    "reads in order; reading masked words first helps the encoder.",
    "rag": "With a passage the same model answers more than twice as many questions; most of what "
    "is left wrong stands in the passage that it was given.",
    "retrieval": "A pretrained encoder that saw none of these queries ranks best; BM25 is ahead of "
    "TF-IDF, and means of word vectors from so little text are behind counting words.",
}
# Elsewhere than in docs/results.md.
OWN_PAGE = ("check_gpu", "blocks*", "speedrun*")

NONE_YET = "*No record yet.*\n"
INTRO = """\
# Results

Made by `python scripts/results.py` from the records in `docs/results/`; not written by hand.
Each record also holds every figure exactly, the versions of all packages and the hashes of the
data. Times and memory are those of the machine named below a table, which may have had other work:
compare them within a table only. How to make a record is told in [Commands](commands.md#records).
Records that were **copied by hand** from the output of a run, before records were kept, say so;
the next recorded run replaces them.
"""


class Highlight(NamedTuple):
    """A cell of a record: the row and the column that are named, by how they begin."""

    what: str
    record: str
    row: str
    column: str
    table: int = 0


HIGHLIGHTS = (
    Highlight("Translate made-up sentences, a minute", "transformer_mt-phrasebook_en_fr", "BLEU",
              "value"),
    Highlight("Translate captions (Multi30k), an hour", "multi30k_en_fr", "beam 5", "BLEU"),
    Highlight("5-gram on WikiText-2", "language_models", "5-gram", "perplexity"),
    Highlight("Decoder on WikiText-2", "language_models", "decoder, sliding", "perplexity"),
    Highlight("Characters of Shakespeare", "shakespeare_char",
              "experiment=shakespeare_char_fast", "validation loss"),
    Highlight("CNN on MNIST", "mnist", "CNN", "accuracy"),
    Highlight("Birthplaces known from reading", "birthplaces_quick", "pretrained", "exact match"),
    Highlight("SmolLM2 in int8, a token", "quantization", "int8 absmax per channel", "token p50"),
    Highlight("SmolLM2 in fp32, a token", "quantization", "fp32", "token p50"),
)  # fmt: skip


def read_records(folder: Path) -> dict[str, dict[str, Any]]:
    """Every record by its name, which is that of its file."""
    return {
        p.stem: json.loads(p.read_text(encoding="utf-8")) for p in sorted(folder.glob("*.json"))
    }


def tables_of(record: Mapping[str, Any]) -> str:
    """The tables of a record, each with its notes, and what it was made on."""
    parts = [
        _title(t["title"], record["name"])
        + markdown(t["columns"], [[c or "" for c in row] for row in t["rows"]], t["notes"])
        for t in record["tables"]
    ]
    return "\n".join([*parts, made_on(record)])


def _title(title: str, record: str) -> str:
    """The title of a bench's table, which says sizes; others are named by the heading above."""
    own = record.startswith("bench_") and not title.startswith(record)
    return f"**{title}**\n\n" if own else ""


def made_on(record: Mapping[str, Any]) -> str:
    """The command, the day, the machine, versions, seeds and data in a line."""
    words = [f"`{record['command']}`"]
    if record["transcribed"]:
        words.append(f"copied by hand on {record['recorded']}")
    else:
        words.append(" to ".join(record["run_between"]))
    words += dict.fromkeys(text for made in record["made_on"] for text in _machine(made))
    if not record["transcribed"]:
        if seeds := record["seeds"]:
            words.append(f"{'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}")
        words += [f"{folds} folds" for folds in record.get("folds", ())]
        words += [_data(entry) for entry in record["data"]]
    return f"*{' · '.join(words)}*\n"


def _machine(made: Mapping[str, Any]) -> list[str]:
    machine, packages = made.get("machine") or {}, made.get("packages") or {}
    threads = machine.get("torch_threads", machine.get("blas_threads"))
    texts = [*(machine.get("gpus") or []), machine.get("processor", "")]
    of = f"{threads} of " if threads else ""
    texts += [f"{of}{machine['cores']} cores"] if "cores" in machine else []
    texts += [f"torch {packages['torch']}"] if "torch" in packages else []
    return [text for text in texts if text]


def _data(entry: Mapping[str, Any]) -> str:
    hashes = [str(value)[:HASH_SHOWN] for value in entry["sha256"].values()]
    shown = hashes[0] if len(hashes) == 1 else f"{len(hashes)} hashes"
    return f"{entry['name']} ({shown})" if hashes else str(entry["name"])


def body_of(record: Mapping[str, Any], *picture: str) -> str:
    """The tables, a picture, and what was remarked on a record that was copied by hand."""
    return "\n".join([tables_of(record), *picture, *(f"{r}\n" for r in record.get("remarks", []))])


def section_of(heading: str, picture: str, record: Mapping[str, Any]) -> str:
    image = [f"![{heading}](images/{picture})\n"] if picture else []
    said = f"{record['description']}. {FINDINGS.get(record['name'], '')}".rstrip()
    return f"### {heading}\n\n{said}\n\n{body_of(record, *image)}"


def _elsewhere(name: str) -> bool:
    return any(fnmatch(name, pattern) for pattern in OWN_PAGE)


def page(records: Mapping[str, Mapping[str, Any]]) -> str:
    """docs/results.md."""
    named = {name for section in SECTIONS.values() for name in section}
    others = {n: (n, "") for n in records if n not in named and not _elsewhere(n)}
    parts = [INTRO]
    for title, section in {**SECTIONS, "Others": others}.items():
        found = {name: shown for name, shown in section.items() if name in records}
        if found:
            parts.append(f"## {title}\n")
            parts += [section_of(*shown, records[n]) for n, shown in found.items()]
    return "\n".join(parts)


def highlights(records: Mapping[str, Mapping[str, Any]]) -> str:
    """A line for each highlight, with the command that makes it."""
    rows = []
    for h in HIGHLIGHTS:
        record = records[h.record]
        column, value = cell(record["tables"][h.table], h)
        rows.append([h.what, column, value, f"`{record['command']}`"])
    return markdown(("what", "measured", "value", "by"), rows)


def cell(table: Mapping[str, Any], h: Highlight) -> tuple[str, str]:
    """What was measured, and the figure; SystemExit if the record has no such cell."""
    columns = table["columns"]
    at = next((i for i, c in enumerate(columns) if c.lower().startswith(h.column.lower())), None)
    rows = [row for row in table["rows"] if row[0].startswith(h.row)]
    row = next((r for r in rows if r[0].rstrip(" ↑↓") == h.row), rows[0] if rows else None)
    if at is None or row is None:
        raise SystemExit(f"{h.record} has no {h.row!r} with {h.column!r}; see HIGHLIGHTS")
    title = row[0] if h.column == "value" else columns[at]
    return title if title[-1] in ARROWS.values() else columns[at], row[at]


def filled(text: str, records: Mapping[str, Mapping[str, Any]]) -> str:
    """A page with what stands between its markers made anew."""

    def content(match: re.Match[str]) -> str:
        name = match[2]
        if name.endswith("*"):
            found = [section_of(n, "", records[n]) for n in records if fnmatch(n, name)]
            made = "\n".join(found) or NONE_YET
            return f"{match[1]}\n{made}\n{match[3]}"
        if name != "highlights" and name not in records:
            raise SystemExit(f"there is no record {name!r} in docs/results")
        made = highlights(records) if name == "highlights" else body_of(records[name])
        return f"{match[1]}\n{made}\n{match[3]}"

    return MARKED.sub(content, text)


def pages(root: Path) -> dict[Path, str]:
    """Every page that holds figures, as it ought to be."""
    records = read_records(root / "docs" / "results")
    made = {root / "docs" / "results.md": page(records)}
    for path in [root / "README.md", *sorted((root / "docs").glob("*.md"))]:
        if path not in made and MARKED.search(text := path.read_text(encoding="utf-8")):
            made[path] = filled(text, records)
    return made


def main() -> int:
    """Write the pages, or compare them; exit code 1 if one is out of date."""
    p = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    p.add_argument("--check", action="store_true", help="write nothing, fail if out of date")
    check = p.parse_args().check
    stale = 0
    for path, text in pages(ROOT).items():
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        stale += 1
        print(f"{path.relative_to(ROOT)} {'is out of date' if check else 'written'}")
        if not check:
            path.write_text(text, encoding="utf-8")
    if check and stale:
        print("run python scripts/results.py", file=sys.stderr)
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())

"""Text: lines of a file, or JSON lines, as token numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from whet.core.errors import TaskError, unknown
from whet.data.batches import TARGET_KEYS
from whet.data.sources.source import TEXTS, Bad, Data, Options, Part, need
from whet.data.sources.splits import PILE, divided, files_of, in_lengths
from whet.data.sources.targets import targets_of

TEXT_KEYS = ("text", "sentence", "content", "document", "input", "prompt")
LENGTH = 128
"""Tokens of a sample, where `--size` says nothing."""
PADS = ("[PAD]", "<pad>", "<|endoftext|>", "</s>")


class Texts:
    """Lines of text, or JSON objects with a text and perhaps a label.

    Text without labels is read in two ways. For a network that foretells tokens, windows of `--size` tokens, those
    that follow them as targets; validation and test are what comes last. For all others line by line, filled up.
    """

    def load(self, path: Path, options: Options) -> Data:
        texts: dict[str, list[str]] = {}
        labels: dict[str, list[Any]] = {}
        bad = Bad("lines")
        for split, one in files_of(path, TEXTS).items():
            try:
                lines = one.read_text(encoding="utf-8").splitlines(keepends=True)
            except UnicodeDecodeError as error:
                raise TaskError(f"'{one}' is no UTF-8 text: {error}") from None
            texts[split], labels[split] = _records(lines, bad, options) if one.suffix == ".jsonl" else (lines, [])
        notes = bad.settle(options, sum(map(len, texts.values())))
        if not any(text.strip() for several in texts.values() for text in several):
            raise TaskError(f"'{path}' holds no text.")
        return text_data(f"text ({path.suffix or 'folder'})", texts, labels, notes, options)


def _records(lines: Sequence[str], bad: Bad, options: Options) -> tuple[list[str], list[Any]]:
    """Return texts and labels of JSON lines; those that are none are gathered in `bad`."""
    found: list[dict[str, Any]] = []
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line) if line.strip() else None
        except ValueError as error:
            bad.found[f"line {number}"] = f"no JSON: {error}"
            continue
        if isinstance(record, dict):
            found.append(record)
        elif record is not None:
            bad.found[f"line {number}"] = f"no JSON object but {type(record).__name__}"
    if not found:
        return [], []
    text = text_key(found[0], options.target_column)
    label = options.target_column or next((key for key in TARGET_KEYS if key in found[0]), None)
    if options.target_column not in (None, "none") and options.target_column not in found[0]:
        raise unknown("field", str(options.target_column), found[0])
    kept = []
    for number, record in enumerate(found, 1):
        lacks = [key for key in (text, label) if key not in (None, "none") and record.get(str(key)) is None]
        if lacks:
            bad.found[f"object {number}"] = f"no '{lacks[0]}'"
        else:
            kept.append(record)
    return [str(record[text]) for record in kept], [record[label] for record in kept] if label in found[0] else []


def text_key(record: Mapping[str, Any], target: str | None) -> str:
    """Return the field of a record that holds the text: one of the usual names, or the only one with text."""
    named = [key for key in TEXT_KEYS if isinstance(record.get(key), str) and key != target]
    others = [key for key, value in record.items() if isinstance(value, str) and key not in (target, *TARGET_KEYS)]
    if not named and len(others) != 1:
        raise TaskError(f"which field is the text? Call it 'text'; the fields are {', '.join(record)}.")
    return (named or others)[0]


def text_data(
    kind: str, texts: Mapping[str, Sequence[str]], labels: Mapping[str, Sequence[Any]], notes: tuple[str, ...],
    options: Options,
) -> Data:  # fmt: skip
    """Return texts of each split as token numbers, with labels where all splits have some."""
    tokenizer = tokenizer_of(options)
    vocabulary = tokenizer.get_vocab_size(with_added_tokens=True)
    length = options.size[-1] if options.size else LENGTH
    labelled = all(len(labels.get(split, ())) == len(several) for split, several in texts.items())
    targets = targets_of([y for split in texts for y in labels[split]], "the label", options.aim) if labelled else None
    cut = iter(in_lengths(targets.values, map(len, texts.values())) if targets else ())
    lines = {split: _padded(tokenizer, several, length, next(cut, None)) for split, several in texts.items()}
    by_class = targets is not None and targets.aim == "classes"
    parts, splits = divided(lines, options, by_class, targets.classes if targets else ())
    notes += (f"{vocabulary:,} tokens in the vocabulary", f"each text cut or filled up to {length} tokens")
    samples = tuple(text.strip()[:80] for several in texts.values() for text in list(several)[:2] if text.strip())[:3]
    if targets is not None:
        notes += (targets.note,) if targets.note else ()
        return Data(kind, parts, targets.aim, splits, targets.classes, notes, samples, vocabulary=vocabulary)
    after = _next_tokens(tokenizer, texts, length, options)
    following = None
    if after is not None:
        windows, how = after
        note = (
            f"{vocabulary:,} tokens in the vocabulary",
            f"windows of {length} tokens, each target the token after it",
        )
        following = Data(kind, windows, "tokens", how, (), (*notes[:-2], *note), samples, vocabulary=vocabulary)
    return Data(kind, parts, "agreement", splits, (), notes, samples, vocabulary=vocabulary, next_token=following)


def tokenizer_of(options: Options) -> Any:
    """Return the tokenizer of `--tokenizer`, or the one beside the network."""
    beside = None if options.beside is None else options.beside / "tokenizer.json"
    path = options.tokenizer or (beside if beside is not None and beside.is_file() else None)
    if path is None:
        raise TaskError("text needs a tokenizer: give --tokenizer tokenizer.json, or put one beside the network.")
    path = path / "tokenizer.json" if path.is_dir() else path
    if not path.is_file():
        raise TaskError(f"tokenizer '{path}' does not exist.")
    library = need("tokenizers", f"'{path}'")
    try:
        made = library.Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises plain exceptions
        raise TaskError(f"'{path}' is no tokenizer of the tokenizers library: {error}") from None
    made.no_padding()
    made.no_truncation()
    return made


def _padded(tokenizer: Any, texts: Sequence[str], length: int, targets: Tensor | None) -> Part:
    """Return texts as (rows, length) token numbers with their masks; lines without text count where labels do."""
    several = [text.rstrip("\r\n") for text in texts if targets is not None or text.strip()]
    pad = next((found for name in PADS if (found := tokenizer.token_to_id(name)) is not None), 0)
    tokenizer.enable_truncation(length)
    encoded = [one.ids for one in tokenizer.encode_batch(several)]
    tokenizer.no_truncation()
    ids = torch.full((len(encoded), length), pad)
    mask = torch.zeros_like(ids)
    for row, numbers in enumerate(encoded):
        ids[row, : len(numbers)] = torch.tensor(numbers, dtype=torch.long)
        mask[row, : len(numbers)] = 1
    return Part({"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids)}, targets)


def _next_tokens(
    tokenizer: Any, texts: Mapping[str, Sequence[str]], length: int, options: Options
) -> tuple[dict[str, Part], str] | None:
    """Return windows of the texts put end to end, and how they were divided; None where they are too short."""
    codes = {}
    for split, several in texts.items():
        encoded = tokenizer.encode_batch(list(several), add_special_tokens=False)
        codes[split] = torch.tensor([number for one in encoded for number in one.ids], dtype=torch.long)
    how = f"{', '.join(codes)} as given"
    if set(codes) == {PILE}:
        count = len(codes[PILE])
        first, second = (int(count * share) for share in (options.split[0], options.split[0] + options.split[1]))
        cuts = {"train": (0, first), "val": (first, second), "test": (second, count)}
        codes = {split: codes[PILE][start:end] for split, (start, end) in cuts.items() if end > start}
        how = f"cut {'/'.join(f'{100 * share:g}' for share in options.split)} % in the order of the text"
    if any(len(several) <= length for several in codes.values()):
        return None
    if "val" not in codes or "train" not in codes:
        return divided({split: _windows(several, length) for split, several in codes.items()}, options)
    return {split: _windows(several, length) for split, several in codes.items()}, how


def _windows(codes: Tensor, length: int) -> Part:
    """Return windows (n, length) end to end as inputs, and as targets each window one token later."""
    windows = codes.unfold(0, length + 1, length)
    mask = torch.ones(1, 1, dtype=torch.long).expand(len(windows), length)
    inputs = {"input_ids": windows[:, :-1], "attention_mask": mask, "token_type_ids": torch.zeros_like(mask)}
    return Part(inputs, windows[:, 1:])

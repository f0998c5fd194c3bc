"""What lm-eval wrote, as scores and samples of ours; raises where a task has no figures, too few rows or no number."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from alphaf_orch.core.errors import StageError
from alphaf_orch.core.record import read_json
from alphaf_orch.core.values import finite
from alphaf_orch.evaluation.tasks.clusters import cluster_of
from alphaf_orch.scores.results import Metric, Sample

# A field of a row that says more than this is in the prompt anyway.
_DETAIL_CHARS = 400


@dataclass(frozen=True)
class LmEvalOutput:
    """The result file of one lm-eval process, and where it put the samples."""

    file: Path
    values: Mapping[str, Any]

    def sample_file(self, task: str) -> Path:
        """Return the file of a task's samples; both carry the same time in their names."""
        return self.file.with_name(f"samples_{task}_{self.file.stem.removeprefix('results_')}.jsonl")


def read_output(folder: Path) -> LmEvalOutput | None:
    """Return the results lm-eval wrote into the folder, or None where it wrote none."""
    files = sorted(folder.glob("results_*.json"))
    if not files:
        return None
    values = read_json(files[-1])
    return None if values is None else LmEvalOutput(files[-1], values)


@contextlib.contextmanager
def _as_written(output: LmEvalOutput, task: str) -> Iterator[None]:
    """Raise StageError where what lm-eval wrote of a task is not of the form that the pinned version writes."""
    try:
        yield
    except (TypeError, LookupError, ValueError, AttributeError, ArithmeticError) as error:
        raise _wrong(
            output, f"what lm-eval wrote of {task} cannot be read ({type(error).__name__}: {error})"
        ) from error


def read_metrics(output: LmEvalOutput, task: str, main: str) -> dict[str, Metric]:
    """Return a task's scores, the main one first; raise StageError where there are none or one is no number.

    lm-eval names a score after its filter (`acc,none`); a name of ours carries it only where there are several.
    """
    with _as_written(output, task):
        return _metrics(output, task, main)


def _metrics(output: LmEvalOutput, task: str, main: str) -> dict[str, Metric]:
    named, scores = _score_keys(output, task), output.values["results"][task]
    better = output.values.get("higher_is_better", {}).get(task, {})
    found = {}
    for key in named:
        name, _, label = key.partition(",")
        value, stderr = scores[key], scores.get(f"{name}_stderr,{label}")
        if not finite(value):
            raise _wrong(output, f"the score {name} of {task} is not a number: {value!r}")
        known = finite(stderr)
        found[metric_name(name, label, named)] = Metric(
            float(value), float(stderr) if known else None, _planned(output, task), better.get(name)
        )
    return {name: found[name] for name in sorted(found, key=lambda name: name.partition("[")[0] != main)}


def _score_keys(output: LmEvalOutput, task: str) -> list[str]:
    """Return lm-eval's names of a task's scores, as `acc,none`; raise StageError where it has none."""
    keys = [key for key in output.values.get("results", {}).get(task, {}) if "," in key and "_stderr," not in key]
    if not keys:
        raise _wrong(output, f"lm-eval wrote no scores of {task}")
    return keys


def metric_name(name: str, label: str, keys: list[str]) -> str:
    """Return the name of a score: with its filter where the task scores through several."""
    labels = list(dict.fromkeys(key.partition(",")[2] for key in keys))
    return name if label == labels[0] else f"{name}[{label}]"


def read_samples(
    output: LmEvalOutput, task: str, config: Mapping[str, Any], cluster: Sequence[str] = ()
) -> list[Sample]:
    """Return a task's samples in the order of its rows; raise StageError where rows are missing or doubled.

    `cluster` names the columns by which rows belong together.
    """
    with _as_written(output, task):
        return _samples(output, task, config, cluster)


def _samples(output: LmEvalOutput, task: str, config: Mapping[str, Any], cluster: Sequence[str]) -> list[Sample]:
    file = output.sample_file(task)
    if not file.is_file():
        raise _wrong(output, f"lm-eval wrote no samples of {task}")
    try:
        with file.open(encoding="utf-8", newline="\n") as text:
            lines = [json.loads(line) for line in text if line.strip()]
    except (ValueError, RecursionError):
        raise _wrong(output, f"the samples of {task} are cut off") from None
    keys = _score_keys(output, task)
    rows: dict[int, list[dict[str, Any]]] = {}
    for line in lines:  # one line a row and filter
        rows.setdefault(int(line["doc_id"]), []).append(line)
    planned = _planned(output, task)
    filters = {line["filter"] for line in lines}
    if len(rows) != planned or len(lines) != planned * len(filters):
        raise _wrong(output, f"lm-eval wrote samples of {len(rows)} rows of {task}, {planned} were planned")
    seen: dict[str, int] = {}
    samples = []
    for number in sorted(rows):
        first = rows[number][0]
        own = first["doc"].get("id")
        name = first["doc_hash"][:16] if own is None else str(own)
        seen[name] = seen.get(name, 0) + 1
        # A data set may hold a row twice; the second of both models is still the same row.
        name = name if seen[name] == 1 else f"{name}#{seen[name]}"
        samples.append(replace(_sample(name, rows[number], keys, config), cluster=cluster_of(first["doc"], cluster)))
    return samples


def _planned(output: LmEvalOutput, task: str) -> int:
    return int(output.values["n-samples"][task]["effective"])


def _sample(name: str, lines: list[dict[str, Any]], keys: list[str], config: Mapping[str, Any]) -> Sample:
    first = lines[0]
    asked = [arguments for _, arguments in sorted(first["arguments"].items(), key=_number)]
    prompt = asked[0]["arg_0"]
    scores = {}
    for line in lines:
        for metric in line["metrics"]:
            value = line.get(metric)
            # A score over all rows, such as macro F1, hands on labels here.
            if isinstance(value, bool) or finite(value):
                scores[metric_name(metric, line["filter"], keys)] = float(value)
    details = dict(_details(first["doc"]))
    if config.get("output_type") == "multiple_choice":
        options = _options(first, asked)
        likelihoods = [float(pair[0]) for pair in first["filtered_resps"][: len(options)]]
        answer = options[max(range(len(options)), key=likelihoods.__getitem__)]
        gold = options[at] if (at := _gold_index(first, asked, config)) is not None else str(first["target"])
        details["logprobs"] = [round(value, 4) for value in likelihoods]
    else:
        answer, gold = _text(first["resps"]), str(first["target"])
        filtered = _text(first["filtered_resps"])
        if filtered != answer:
            details["filtered"] = filtered
    # Chat completions get messages, which lm-eval wraps in a list of one text.
    text = prompt[0] if isinstance(prompt, list) else prompt
    return Sample(name, str(text), answer, gold, scores, details)


def _number(item: tuple[str, Any]) -> int:
    return int(item[0].rpartition("_")[2])


def _text(value: Any) -> str:
    while isinstance(value, list):
        value = value[0] if value else ""
    return str(value)


def _options(line: Mapping[str, Any], asked: list[dict[str, Any]]) -> list[str]:
    """Return the options as a person would read them: the text sent, with the row's own words for a mere letter."""
    # Without a prompt it is the option's own likelihood, which acc_mutual_info asks for as well.
    pairs = [(str(arguments["arg_0"]), str(arguments["arg_1"])) for arguments in asked if arguments["arg_0"]]
    same_prompt = len({prompt for prompt, _ in pairs}) == 1
    sent = [(text if same_prompt else prompt).strip() for prompt, text in pairs]
    words = line["doc"].get("choices")
    if not (isinstance(words, list) and len(words) == len(sent) and all(isinstance(word, str) for word in words)):
        return sent
    return [text if text == word.strip() else f"{text}. {word}" for text, word in zip(sent, words, strict=True)]


def _gold_index(line: Mapping[str, Any], asked: list[dict[str, Any]], config: Mapping[str, Any]) -> int | None:
    """Return which option is right. lm-eval takes a number for a position and a column's text for the option itself."""
    target = str(line["target"])
    sent = [str(arguments["arg_1"]).strip() for arguments in asked]
    named = line["doc"].get(str(config.get("doc_to_target")))
    if isinstance(named, str) and target in sent:
        return sent.index(target)
    if target.lstrip("-").isdigit() and 0 <= int(target) < len(sent):
        return int(target)
    return sent.index(target) if target in sent else None


def _details(doc: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in doc.items():
        if key != "id" and len(json.dumps(value, ensure_ascii=False)) <= _DETAIL_CHARS:
            yield key, value


def _wrong(output: LmEvalOutput, what: str) -> StageError:
    return StageError(
        what,
        where=str(output.file),
        fix="read the log; the same command asks again what is missing",
        code="stage.results_wrong",
    )

"""Child program: says how the models of a run are to be asked, and checks it.

Usage: python -m alphaf_orch.programs.evaluation.eval_tokenizer CONFIG.yaml

Config keys: reference (folder of the first trained model, or null while there is none), models (list of stage,
path, revision, and tokenizer where one is asked with another than the reference), systems (system texts of the
tasks), prepared (folder for the tokenizer of the base model), trust_remote_code, output (JSON); and for a run
without a trained model chat_template, added_tokens and special_tokens, from which the tokenizer is set up as the
trainer would.

The reference is the tokenizer that training left behind, its chat template included. Every trained model must
have the same vocabulary and template. The base model gets the reference too where its embedding has a row for
each entry; else its own tokenizer with the reference's template, which is said as a warning. Exit codes: 2 config,
4 a tokenizer that cannot be loaded, 8 a model whose tokenizer is not the trained one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alphaf_orch.programs.architectures.orion import register_files
from alphaf_orch.programs.common import CONTRACT, MODEL, Failure, config_path, program, read_config, write_json
from alphaf_orch.programs.training.tokenizer import trainer_tokenizer

SYSTEM, USER = "ALPHAFSYSTEMTEXT", "ALPHAFUSERTEXT"  # stand for the texts; no template changes a word of letters


def sha256(text: str) -> str:
    """Return the hash lm-eval writes for a chat template."""
    return hashlib.sha256(text.encode()).hexdigest()


def load(path: str, revision: str | None, *, trust: bool) -> Any:
    """Return the tokenizer of a folder or a cached hub model, without a BOS of its own: templates write theirs."""
    from transformers import AutoTokenizer

    register_files()
    try:
        # As lm-eval loads it, with its default revision.
        return AutoTokenizer.from_pretrained(
            path, revision=revision or "main", trust_remote_code=trust, add_bos_token=False
        )
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        fix = "copy the tokenizer files into the folder again"
        raise Failure(
            MODEL, f"cannot load the tokenizer: {reason}", where=path, fix=fix, code="model.tokenizer_unusable"
        ) from error


def embedding_rows(path: str, revision: str | None, *, trust: bool) -> int:
    """Return how many tokens a model's embedding has rows for."""
    from transformers import AutoConfig

    register_files()
    config = AutoConfig.from_pretrained(path, revision=revision or "main", trust_remote_code=trust)
    return int(config.get_text_config().vocab_size)


def render(tokenizer: Any, messages: list[dict[str, str]]) -> str:
    """Return the text of a conversation up to where the assistant begins."""
    return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))


def skeleton(tokenizer: Any, *, system: bool) -> list[str] | None:
    """Return what the template writes before, between and behind the texts; None where it takes no system turn."""
    from jinja2 import TemplateError

    user = {"role": "user", "content": USER}
    try:
        text = render(tokenizer, [{"role": "system", "content": SYSTEM}, user] if system else [user])
    except TemplateError:
        if system:
            return None
        raise
    if system and SYSTEM not in text:
        return None
    before, _, rest = text.partition(SYSTEM) if system else ("", "", text)
    between, _, behind = rest.partition(USER)
    return [before, between, behind]


def check_ids(tokenizer: Any, reference: Any, systems: list[str], stage: str) -> None:
    """Raise Failure where lm-eval's way, to tokenise the rendered text, gives other tokens than training's."""
    for system in ["", *systems]:
        messages = [{"role": "system", "content": system}] if system else []
        messages.append({"role": "user", "content": "기준금리가 오르면 채권 가격은 어떻게 되나요?"})
        text = render(tokenizer, messages)
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        wanted = reference.apply_chat_template(messages, add_generation_prompt=True, tokenize=True, return_dict=False)
        if ids != wanted:
            raise Failure(
                CONTRACT,
                f"the {stage} model would be asked with {len(ids)} tokens where training has {len(wanted)}",
                where=f"prompt: {text!r}",
                fix="the tokenizer of this model is not the trained one; run the merge again",
                code="contract.other_tokens",
            )


def check_trained(own: Any, reference: Any, stage: str, path: str) -> list[str]:
    """Return the warnings about a trained model's own tokenizer; raise where it is another than the reference."""
    vocabulary = own.get_vocab()
    moved = [token for token, number in reference.get_vocab().items() if vocabulary.get(token) != number]
    if moved:
        raise Failure(
            CONTRACT,
            f"the {stage} model has another vocabulary than the trained one: {len(moved)} tokens, such as {moved[0]!r}",
            where=path,
            fix="merge with the trained model's tokenizer (tokenizer_source in the merge recipe)",
            code="contract.other_vocabulary",
        )
    if not own.chat_template:
        return [f"the {stage} model has no chat template of its own; it was asked with the trained one"]
    if own.chat_template != reference.chat_template:
        raise Failure(
            CONTRACT,
            f"the {stage} model has another chat template than training used",
            where=f"{path}/chat_template.jinja",
            fix="lay the trained model's chat_template.jinja over it, or merge again",
            code="contract.other_template",
        )
    return []


def base_tokenizer(base: Any, reference: Any, rows: int) -> tuple[Any, list[str]]:
    """Return what the base model is asked with, and the warning where that is not the trained tokenizer."""
    last = max(reference.get_vocab().values())
    if last < rows:
        return reference, []
    added = sorted(set(reference.get_vocab()) - set(base.get_vocab()))
    base.chat_template = reference.chat_template
    shown = ", ".join(added[:6])
    return base, [
        f"training added {len(added)} tokens ({shown}) that the base model has no embedding rows for: it was asked"
        " with its own tokenizer and the trained chat template"
    ]


def other_tokenizer(folder: str, stage: str, *, trust: bool) -> tuple[Any, list[str]]:
    """Return a tokenizer that a model is asked with on purpose, and the words that its scores are shown with."""
    tokenizer = load(folder, None, trust=trust)
    if not tokenizer.chat_template:
        raise Failure(
            MODEL,
            f"there is no chat template to ask the {stage} model with",
            where=folder,
            fix="merge again",
            code="model.no_chat_template",
        )
    return tokenizer, [f"the {stage} scores are under another chat template than the run's: that of the merge partner"]


def untrained_reference(config: dict[str, Any]) -> Any:
    """Return the base model's tokenizer, set up as the trainer will: no trained model is there yet."""
    base = config["models"][0]
    tokenizer, template = trainer_tokenizer(
        {
            "tokenizer": base["path"],
            "revision": base["revision"],
            "trust_remote_code": config["trust_remote_code"],
            "chat_template": config["chat_template"],
            "chat_template_jinja": config.get("chat_template_jinja"),
            "special_tokens": config["special_tokens"],
            "added_tokens": config["added_tokens"],
        }
    )
    tokenizer.chat_template = template
    return tokenizer


def facts(tokenizer: Any) -> dict[str, Any]:
    """Return what lm-eval's results say of a tokenizer, for comparison."""
    pairs = {
        name: [getattr(tokenizer, f"{name}_token"), getattr(tokenizer, f"{name}_token_id")]
        for name in ("eos", "pad", "bos")
    }
    return {"chat_template_sha256": sha256(tokenizer.chat_template), **pairs, "tokens": len(tokenizer)}


def asked(model: Mapping[str, Any], reference: Any, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return how one model is asked; raise Failure where it cannot be asked as it was trained."""
    stage, path = model["stage"], model["path"]
    rows = embedding_rows(path, model["revision"], trust=config["trust_remote_code"])
    used, place, warnings = _chosen(model, reference, rows, config)
    if max(used.get_vocab().values()) >= rows:
        what = f"the {stage} model has {rows} embedding rows for {len(used)} tokens"
        raise Failure(CONTRACT, what, where=path, fix="merge with resized embeddings", code="contract.embedding_rows")
    # A tokenizer without the trained tokens cannot give the trained ids; the text is the same all the same.
    with_system = skeleton(used, system=True)
    own_ids = model.get("tokenizer") or (warnings and stage == "base")
    check_ids(used, used if own_ids else reference, config["systems"] if with_system else [], stage)
    return {
        **facts(used),
        "tokenizer": place,
        "embedding_rows": rows,
        "with_system": with_system,
        "without_system": skeleton(used, system=False),
        "warnings": warnings,
    }


def _chosen(
    model: Mapping[str, Any], reference: Any, rows: int, config: Mapping[str, Any]
) -> tuple[Any, str, list[str]]:
    """Return the tokenizer that a model is asked with, its folder, and what has to be said of it."""
    stage, path, trust = model["stage"], model["path"], config["trust_remote_code"]
    if stage == "base":
        used, warnings = base_tokenizer(load(path, model["revision"], trust=trust), reference, rows)
        used.save_pretrained(config["prepared"])
        return load(config["prepared"], None, trust=trust), config["prepared"], warnings
    if model.get("tokenizer"):
        used, warnings = other_tokenizer(model["tokenizer"], stage, trust=trust)
        return used, model["tokenizer"], warnings
    own = reference if path == config["reference"] else load(path, None, trust=trust)
    return reference, config["reference"], check_trained(own, reference, stage, path)


def run(config: dict[str, Any]) -> dict[str, Any]:
    """Return how each model is asked, and write it; raise Failure where one cannot be asked as it was trained."""
    folder = config["reference"]
    reference = load(folder, None, trust=config["trust_remote_code"]) if folder else untrained_reference(config)
    if not reference.chat_template:
        fix = "the hand-off contract puts it there; run the merge again"
        raise Failure(
            MODEL, "the trained model has no chat template", where=folder, fix=fix, code="model.no_chat_template"
        )
    stages = {model["stage"]: asked(model, reference, config) for model in config["models"]}
    found = {"reference": folder, "stages": stages}
    write_json(Path(config["output"]), found)
    return found


def main(argv: list[str]) -> None:
    """Run with the config named on the command line, and print what it found."""
    found = run(read_config(config_path(argv)))
    for stage, said in found["stages"].items():
        print(f"{stage}: {said['tokens']} tokens, eos {said['eos']}, template {said['chat_template_sha256'][:12]}")
        for warning in said["warnings"]:
            print(f"warning: {warning}")


if __name__ == "__main__":
    program(main)

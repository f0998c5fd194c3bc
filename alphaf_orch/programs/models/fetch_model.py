"""Downloads models or data sets into the Hugging Face cache and prints their commits; only run with --online."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from alphaf_orch.programs.common import FAILED, MODEL, Failure, program

# Config, tokenizer, template, licence and the code of models that bring their own.
SMALL_FILES = ["*.json", "*.txt", "*.model", "*.tiktoken", "*.jinja", "*.py", "*.md", "LICENSE*"]


def wanted_patterns(files: list[str], *, allow_pickle: bool) -> list[str]:
    """Return the patterns to download: safetensors; pickles only where they are allowed and there is nothing else.

    Raises Failure where there is nothing but pickles and nobody allowed them.
    """
    has_safetensors = any(name.endswith(".safetensors") for name in files)
    pickled = next((name for name in files if name.endswith(".bin")), None)
    if pickled and not has_safetensors and not allow_pickle:
        fix = "use a model in safetensors, or, if you trust who made it, pass --allow-pickle"
        raise Failure(
            MODEL,
            "the weights are pickles, which can run code when they are read",
            where=pickled,
            fix=fix,
            code="model.pickle",
        )
    return [*SMALL_FILES, "*.bin" if pickled and not has_safetensors else "*.safetensors"]


@contextlib.contextmanager
def hub_errors(where: str) -> Iterator[None]:
    """End the program with what to do where the hub can't be reached or refuses."""
    import httpx
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        yield
    except HFValidationError as error:
        raise Failure(
            FAILED,
            str(error),
            where=f"--repo {where.partition('@')[0]}",
            fix="give a hub id such as ORG/NAME",
            code="stage.not_a_hub_id",
        ) from error
    except GatedRepoError as error:
        fix = "accept the licence on its page with your account, export HF_TOKEN, then call it again"
        raise Failure(
            MODEL,
            "the repository is gated: its keepers ask for a licence first",
            where=where,
            fix=fix,
            code="model.gated",
        ) from error
    except (HfHubHTTPError, LocalEntryNotFoundError, httpx.HTTPError, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        fix = "check network, HF_TOKEN and the licence page; a second run goes on where this ended"
        raise Failure(
            FAILED, f"the download failed: {reason}", where=where, fix=fix, code="stage.download_failed"
        ) from error


def fetch(repo: str, revision: str | None, repo_type: str, *, allow_pickle: bool = False) -> str:
    """Return the commit that was downloaded; ends the program where the hub can't be reached or refuses."""
    from huggingface_hub import HfApi, snapshot_download

    with hub_errors(f"{repo}@{revision or 'main'}"):
        is_model = repo_type == "model"
        files = HfApi().list_repo_files(repo, revision=revision) if is_model else []
        patterns = wanted_patterns(files, allow_pickle=allow_pickle) if is_model else None
        # By branch, not by commit: only then refs/main is written, which finds the snapshot later.
        snapshot_dir = snapshot_download(repo, revision=revision, allow_patterns=patterns, repo_type=repo_type)
    return Path(snapshot_dir).name


def require_hub() -> None:
    """End the program where the hub is switched off by hand."""
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        fix = "unset it and pass --online, or copy the model"
        raise Failure(FAILED, "the hub is switched off", where="HF_HUB_OFFLINE", fix=fix, code="stage.hub_off")


def main(argv: list[str]) -> None:
    """Download each --repo at --revision and print a line `commit SHA` for it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repo", required=True, action="append", help="ORG/NAME or ORG/NAME@REVISION; repeatable")
    parser.add_argument("--repo-type", choices=("model", "dataset"), default="model")
    parser.add_argument("--revision", help="commit, tag or branch; default: main")
    parser.add_argument("--allow-pickle", action="store_true", help="fetch pickles where there are no safetensors")
    args = parser.parse_args(argv)
    require_hub()
    for repo in args.repo:
        name, _, revision = repo.partition("@")
        print(f"commit {fetch(name, revision or args.revision, args.repo_type, allow_pickle=args.allow_pickle)}")


if __name__ == "__main__":
    program(main)

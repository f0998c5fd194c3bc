"""Lists or downloads a repository of the hub at one commit, into a folder of plain files; for `alphaf bundle`."""

from __future__ import annotations

import argparse
import glob
import json
from pathlib import Path
from typing import Any

from alphaf_orch.programs.common import DATA, MODEL, Failure, program, write_whole
from alphaf_orch.programs.models.fetch_model import hub_errors, require_hub, wanted_patterns

# What python unpickles: code that runs when it is read.
PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".npy")


def listing(repo: str, revision: str | None, repo_type: str, *, pickles: bool) -> dict[str, Any]:
    """Return commit and files (path, size, sha256 of large ones, git's own hash of others) that a bundle takes.

    Ends the program for a gated repository without a token that opens it, and for weights that only pickle reads.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.utils import filter_repo_objects

    where = f"{repo}@{revision or 'main'}"
    with hub_errors(where):
        info = HfApi().repo_info(repo, revision=revision, repo_type=repo_type, files_metadata=True)
        if getattr(info, "gated", False):
            HfApi().auth_check(repo, repo_type=repo_type)
    found = {
        file.rfilename: {
            "path": file.rfilename,
            "size": file.size,
            "sha256": file.lfs.sha256 if file.lfs else None,
            "git": None if file.lfs else file.blob_id,
        }
        for file in info.siblings or ()
    }
    patterns = wanted_patterns([*found], allow_pickle=True) if repo_type == "model" else None
    names = sorted(filter_repo_objects([*found], allow_patterns=patterns))
    refused = [] if pickles else [name for name in names if name.lower().endswith(PICKLED)]
    names = [name for name in names if name not in refused]
    if refused and not any(name.endswith(".safetensors") for name in names) and repo_type == "model":
        fix = "take a revision with safetensors, or allow it for this bundle with --allow-pickle"
        raise Failure(
            MODEL,
            f"the weights are pickled ({refused[0]}), and reading them runs code",
            where=where,
            fix=fix,
            code="model.pickle",
        )
    if not names:
        raise Failure(
            DATA, "there is nothing in it that a bundle takes", where=where, fix="check the name", code="data.no_files"
        )
    return {"commit": info.sha, "files": [found[name] for name in names], "left_out": refused}


def download(repo: str, commit: str, repo_type: str, names: list[str], into: Path) -> None:
    """Put the named files into the folder, as plain files; what is there of that commit is not fetched again."""
    from huggingface_hub import snapshot_download

    with hub_errors(f"{repo}@{commit}"):
        snapshot_download(
            repo,
            revision=commit,
            repo_type=repo_type,
            local_dir=into,
            allow_patterns=[glob.escape(name) for name in names],
        )


def main(argv: list[str]) -> None:
    """Write the listing of --repo to --list, or download the files that --list names into --into."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repo", required=True, help="ORG/NAME")
    parser.add_argument("--repo-type", choices=("model", "dataset"), required=True)
    parser.add_argument("--revision", help="commit, tag or branch; default: main")
    parser.add_argument("--list", type=Path, required=True, help="the JSON file of commit and files")
    parser.add_argument("--into", type=Path, help="the folder to download into; without it the listing is made")
    parser.add_argument("--pickles", action="store_true", help="take pickled weights too")
    args = parser.parse_args(argv)
    require_hub()
    if args.into is None:
        found = listing(args.repo, args.revision, args.repo_type, pickles=args.pickles)
        write_whole(args.list, json.dumps(found, indent=1, sort_keys=True))
        return
    known = json.loads(args.list.read_text(encoding="utf-8"))
    download(args.repo, known["commit"], args.repo_type, [file["path"] for file in known["files"]], args.into)


if __name__ == "__main__":
    program(main)

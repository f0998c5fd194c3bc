"""What each library is asked about a model, and how: its own table or function says, and is named as evidence."""

from __future__ import annotations

import ast
import importlib.util
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

from alphaf_orch.programs.architectures.mergekit_native import register_architectures

Reply = Literal["yes", "own", "partly", "no", "not asked"]


@dataclass(frozen=True)
class Candidate:
    """A model as its config.json describes it, or as its preset does while there is none."""

    folder: Path | None
    model_type: str | None  # None: only a config.json could say
    class_name: str
    remote_code: bool


def listed(where: str, key: str | None, table: Any, otherwise: Reply = "no") -> tuple[Reply, str]:
    """Return `yes` if the library's table has the key, and the table's name with what it says."""
    if key is None:
        return "not asked", f"{where}: no config.json is here to name the model_type"
    if key not in table:
        return otherwise, f"{where} ({len(table)}): no {key}"
    return "yes", f"{where}[{key!r}] = {table[key]!r}" if isinstance(table, Mapping) else f"{where}: {key}"


def transformers_class(candidate: Candidate) -> tuple[Reply, str]:
    """Return whether transformers has the class itself, or gets one from us."""
    where, model_type = "transformers.AutoModelForCausalLM", candidate.model_type
    found = causal_class(model_type)
    if found is None:
        own_code = "; the model brings its own code (auto_map)" if candidate.remote_code else ""
        return "no", f"{where}: no class for model_type {model_type}, class {candidate.class_name}{own_code}"
    made_by = f"{where}, model_type {model_type}: {found.__module__}.{found.__name__}"
    if found.__module__.startswith("transformers."):
        named = found.__name__ == candidate.class_name
        return ("yes", made_by) if named else ("partly", f"{made_by}, the model names {candidate.class_name}")
    return "own", made_by


def causal_class(model_type: str | None) -> Any:
    """Return the class that AutoModelForCausalLM has for a model_type without remote code; None where there is none."""
    from transformers import CONFIG_MAPPING, MODEL_FOR_CAUSAL_LM_MAPPING

    if model_type is None or model_type not in CONFIG_MAPPING:
        return None
    config_class = CONFIG_MAPPING[model_type]
    return MODEL_FOR_CAUSAL_LM_MAPPING.get(config_class, None)  # its get() demands a default


def model_type_of(class_name: str) -> str | None:
    """Return the model_type that transformers (or a class of ours in it) has for a causal class of that name."""
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    names = [name for name, found in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.items() if found == class_name]
    # transformers keeps registered classes apart from its own; its public iteration would import every model.
    extra = getattr(MODEL_FOR_CAUSAL_LM_MAPPING, "_extra_content", {})
    names += [config.model_type for config, found in extra.items() if found.__name__ == class_name]
    return names[0] if names else None


def axolotl_packing(candidate: Candidate) -> tuple[Reply, str]:
    """Return whether axolotl packs several conversations into a row for this model_type."""
    from axolotl.monkeypatch.multipack import SUPPORTED_MULTIPACK_MODEL_TYPES as TABLE

    return listed("axolotl.monkeypatch.multipack.SUPPORTED_MULTIPACK_MODEL_TYPES", candidate.model_type, TABLE)


def axolotl_lora_kernels(candidate: Candidate) -> tuple[Reply, str]:
    """Return whether axolotl's fused LoRA kernels can be put into this model_type's attention, by doing so."""
    from axolotl.monkeypatch.lora_kernels import patch_self_attn_lora
    from axolotl.utils.dict import DictDefault

    where = "axolotl.monkeypatch.lora_kernels.patch_self_attn_lora"
    if candidate.model_type is None:
        return listed(where, None, ())
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "config.json").write_text(json.dumps({"model_type": candidate.model_type}), encoding="utf-8")
        try:
            patch_self_attn_lora(DictDefault({"base_model": folder}))
        except (ValueError, ImportError, AssertionError) as error:
            said = (" ".join(str(error).split()) or type(error).__name__).replace(folder, "its config")
            return "no", f"{where}: {said[:160]}"
    return "yes", f"{where}: patched the attention of {candidate.model_type}"


def axolotl_liger(candidate: Candidate) -> tuple[Reply, str]:
    """Return whether the Liger kernels that axolotl's plugin switches on know this model_type."""
    from liger_kernel.transformers.monkey_patch import MODEL_TYPE_TO_APPLY_LIGER_FN as TABLE

    found, said = listed("liger_kernel…MODEL_TYPE_TO_APPLY_LIGER_FN", candidate.model_type, list(TABLE))
    return found, f"{said}; used by axolotl.integrations.liger"


def unsloth_fast_path(candidate: Candidate) -> tuple[Reply, str]:
    """Return whether unsloth has a fast path, read from its source: importing it needs a GPU."""
    where = "unsloth/models/loader.py, FastLanguageModel.from_pretrained, dispatch_model"
    names = dict.fromkeys(dispatched(source("unsloth", "models/loader.py")))
    if not names:
        return "not asked", f"{where}: not found in this version"
    found, said = listed(where, candidate.model_type, list(names), "partly")
    return found, f"{said}; FastModel, its general path, is left" if found == "partly" else said


def dispatched(tree: ast.Module) -> Iterator[str]:
    """Yield each model_type for which FastLanguageModel.from_pretrained chooses a class of its own."""
    owners = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "FastLanguageModel"]
    for test in (node for owner in owners for node in ast.walk(owner) if isinstance(node, ast.If)):
        chosen = any(
            isinstance(target, ast.Name) and target.id == "dispatch_model"
            for statement in test.body if isinstance(statement, ast.Assign) for target in statement.targets
        )  # fmt: skip
        match test.test:
            case ast.Compare(ast.Name("model_type"), [ast.Eq()], [ast.Constant(str(name))]) if chosen:
                yield name


def mergekit_definition(candidate: Candidate) -> tuple[Reply, str]:
    """Return whether mergekit has a definition of the architecture (or ours), or can infer one from weights here."""
    from mergekit.architecture import arch_info_for_config

    where = "mergekit.architecture.arch_info_for_config"
    own = own_definitions()  # first: what we add must not count as mergekit's
    config = SimpleNamespace(architectures=[candidate.class_name], model_type=candidate.model_type)
    found = arch_info_for_config(config)
    if found is not None and candidate.class_name in own:
        return (
            "own",
            f"{where}({candidate.class_name}): no definition but alphaf_orch's for {found.expected_model_type}",
        )
    if found is not None:
        return "yes", f"{where}({candidate.class_name}): a definition for {found.expected_model_type}"
    if candidate.folder is None or not any(candidate.folder.glob("*.safetensors")):
        return "no", f"{where}({candidate.class_name}): no definition, and no weights here to infer one from"
    return mergekit_inferred(candidate.folder, f"{where}({candidate.class_name}): no definition")


@cache
def own_definitions() -> frozenset[str]:
    """Return the architectures that mergekit knows from alphaf_orch only, having told it about them."""
    from mergekit.architecture.json_definitions import NAME_TO_ARCH

    before = set(NAME_TO_ARCH)
    register_architectures()
    return frozenset(set(NAME_TO_ARCH) - before)


def mergekit_inferred(folder: Path, before: str) -> tuple[Reply, str]:
    """Return whether mergekit infers an architecture from the names of a model's tensors."""
    from mergekit.architecture import infer_architecture_info
    from mergekit.common import ModelReference
    from mergekit.options import MergeOptions

    try:
        infer_architecture_info((ModelReference.model_validate(str(folder)),), None, MergeOptions())
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
        said = " ".join(str(error).split()).replace(str(folder), folder.name)[:160]
        return "no", f"{before}; infer_architecture_info: {said}"
    return "partly", f"{before}; infer_architecture_info reads one from the tensors' names"


def lm_eval_hf(candidate: Candidate) -> tuple[Reply, str]:
    """Return whether lm-eval loads it: its `hf` model takes AutoModelForCausalLM, so the answer is transformers'."""
    from lm_eval.models import MODEL_MAPPING

    found, said = transformers_class(candidate)
    return found, f"lm_eval.models.MODEL_MAPPING['hf'] = {MODEL_MAPPING['hf']!r}, which loads through {said}"


def lm_eval_vllm(candidate: Candidate) -> tuple[Reply, str]:
    """Return whether vLLM, the other backend, has the class, read from its source: importing it starts CUDA."""
    where = "vllm/model_executor/models/registry.py, _TEXT_GENERATION_MODELS"
    for node in ast.walk(source("vllm", "model_executor/models/registry.py")):
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Dict):
            target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
            if isinstance(target, ast.Name) and target.id == "_TEXT_GENERATION_MODELS":
                keys = [key.value for key in node.value.keys if isinstance(key, ast.Constant)]
                return listed(where, candidate.class_name, keys)
    return "not asked", f"{where}: not found in this version"


def source(package: str, name: str) -> ast.Module:
    """Return a file of an installed package, parsed and not run; raise ImportError where it is not there."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ImportError(f"{package} is not installed")
    path = Path(spec.submodule_search_locations[0]) / name
    if not path.is_file():
        raise ImportError(f"the package {package} has no file {name}")
    return ast.parse(path.read_text(encoding="utf-8"))


# (tool, the package whose version decides, what is asked, who asks)
QUESTIONS: tuple[tuple[str, str, str, Callable[[Candidate], tuple[Reply, str]]], ...] = (
    ("transformers", "transformers", "class", transformers_class),
    ("axolotl", "axolotl", "packing", axolotl_packing),
    ("axolotl", "axolotl", "lora_kernels", axolotl_lora_kernels),
    ("axolotl", "liger_kernel", "liger", axolotl_liger),
    ("unsloth", "unsloth", "fast_path", unsloth_fast_path),
    ("mergekit", "mergekit", "definition", mergekit_definition),
    ("lm-eval", "lm-eval", "hf", lm_eval_hf),
    ("lm-eval", "vllm", "vllm", lm_eval_vllm),
)

"""What Orion's published files hold, as native classes: config.json and the sentencepiece tokenizer.model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from huggingface_hub.dataclasses import strict
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers
from transformers import LlamaConfig, TokenizersBackend

SPACE = "▁"  # sentencepiece writes a space so
BPE, USER_DEFINED = 2, 4  # sentencepiece_model.proto: TrainerSpec.ModelType, SentencePiece.Type


@strict
class OrionConfig(LlamaConfig):  # type: ignore[misc]
    """Llama's configuration with Orion-14B's sizes as defaults; rms_norm_eps is the eps of its LayerNorms.

    Source: config.json of OrionStarAI/Orion-14B-Base. Keys that mean nothing here, such as auto_map, are kept.
    """

    model_type = "orion"

    vocab_size: int = 84608
    hidden_size: int = 5120
    intermediate_size: int = 15360
    num_hidden_layers: int = 40
    num_attention_heads: int = 40
    max_position_embeddings: int = 4096
    rms_norm_eps: float = 1e-5


class OrionTokenizer(TokenizersBackend):  # type: ignore[misc]
    """A tokenizer that gives sentencepiece's own ids, read from tokenizer.model or from the tokenizer.json we save.

    As with the published tokenizer, every stretch of text between special tokens is encoded by itself.
    """

    vocab_files_names = {"vocab_file": "tokenizer.model", "tokenizer_file": "tokenizer.json"}  # noqa: RUF012
    model_input_names = ["input_ids", "attention_mask"]  # noqa: RUF012

    @classmethod
    def convert_to_native_format(cls, trust_remote_code: bool = False, **kwargs: Any) -> dict[str, Any]:
        """Return the keywords to build the tokenizer from; raise ValueError for a model that is not BPE."""
        # It names a python file that nothing here needs, and would be saved with every trained tokenizer.
        kwargs.pop("auto_map", None)
        if kwargs.get("tokenizer_file") or not kwargs.get("vocab_file"):
            made: dict[str, Any] = super().convert_to_native_format(trust_remote_code=trust_remote_code, **kwargs)
            return made
        return {**kwargs, "tokenizer_object": from_sentencepiece(Path(kwargs["vocab_file"]))}


def from_sentencepiece(model_file: Path) -> Tokenizer:
    """Return a tokenizer with the pieces, the merges and the handling of spaces of a sentencepiece BPE model.

    transformers' generic conversion leaves out two rules of the model's normalizer_spec, the space in front of a
    text and the removal of repeated ones, and with sentencepiece 0.2.3 beside protobuf 6 it does not run at all.
    """
    from transformers.tokenization_utils_base import generate_merges

    proto = model_proto().ModelProto()
    proto.ParseFromString(model_file.read_bytes())
    trained, rules = proto.trainer_spec, proto.normalizer_spec
    if trained.model_type != BPE:
        raise ValueError(f"{model_file} is a sentencepiece model of type {trained.model_type}; Orion's is BPE (2)")
    vocabulary = {piece.piece: number for number, piece in enumerate(proto.pieces)}
    # A BPE piece's score is its rank, so the order of the pieces is that of the merges.
    merges = generate_merges(vocabulary, skip_tokens={piece.piece for piece in proto.pieces if piece.type != 1})
    tokenizer = Tokenizer(
        models.BPE(
            vocab=vocabulary,
            merges=merges,
            unk_token=trained.unk_piece,
            fuse_unk=True,
            byte_fallback=trained.byte_fallback,
        )
    )
    steps: list[Any] = []
    if rules.precompiled_charsmap:
        steps.append(normalizers.Precompiled(rules.precompiled_charsmap))
    if rules.remove_extra_whitespaces:
        # Spaces only: a line break at an end stays.
        steps += [normalizers.Replace(Regex("^ +| +$"), ""), normalizers.Replace(Regex(" {2,}"), " ")]
    if rules.add_dummy_prefix:
        steps.append(normalizers.Prepend(SPACE))
    tokenizer.normalizer = normalizers.Sequence([*steps, normalizers.Replace(" ", SPACE)])
    undo: list[Any] = [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    if rules.add_dummy_prefix:
        undo.append(decoders.Strip(" ", 1, 0))
    tokenizer.decoder = decoders.Sequence(undo)
    # Whole wherever they stand; behind one, a new text begins, which sentencepiece itself would not say.
    whole = [piece.piece for piece in proto.pieces if piece.type == USER_DEFINED]
    tokenizer.add_tokens([AddedToken(text, normalized=False, special=False) for text in whole])
    return tokenizer


def model_proto() -> Any:
    """Return the module that reads sentencepiece's files: its own, or transformers' copy for an older protobuf."""
    from google.protobuf.runtime_version import VersionError

    try:
        from sentencepiece import sentencepiece_model_pb2
    except VersionError:
        from transformers.utils import sentencepiece_model_pb2_new as sentencepiece_model_pb2
    return sentencepiece_model_pb2

"""What the layer for GPUs asks of axolotl, on a CPU: a loss in pieces that is the same, evaluations that pad less."""

import types

import pytest
import tiny
import torch

from alphaf_orch.programs.training.eval_padding import pad_evaluation_to_its_rows

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("items", [None, 37])
def test_the_loss_in_pieces_is_transformers_own_with_its_gradients(items, monkeypatch):
    """`items`: the trained tokens of all micro batches of a step, by which gradient accumulation divides."""
    from axolotl.monkeypatch.loss.chunked import get_causal_lm_loss
    from transformers.loss.loss_utils import ForCausalLMLoss

    monkeypatch.setattr(torch, "compile", lambda function, **_: function)  # half a minute of g++, for the same sum
    torch.manual_seed(0)
    model = tiny.llama(320)
    ids = torch.randint(0, 320, (2, 61))  # a length that eight pieces do not share evenly
    labels = ids.clone()
    labels[:, ::3] = -100
    labels[1, 40:] = -100  # padding, whole pieces of it
    found = []
    for loss_of in (ForCausalLMLoss, get_causal_lm_loss()):
        model.zero_grad()
        logits = model(input_ids=ids).logits
        loss = loss_of(logits, labels, vocab_size=320, num_items_in_batch=items and torch.tensor(items))
        loss.backward()
        found.append((loss.detach(), torch.cat([p.grad.flatten() for p in model.parameters()])))
    (one, gradients), (pieces, of_pieces) = found
    assert float(one) == pytest.approx(float(pieces), rel=1e-6)
    assert float((gradients - of_pieces).abs().max()) < 1e-6 < float(gradients.abs().max())


def test_rows_of_an_evaluation_are_padded_to_the_longest_and_their_loss_stays():
    from axolotl.utils.collators import DataCollatorForSeq2Seq

    collator = DataCollatorForSeq2Seq(tiny.tokenizer(), padding=True, pad_to_multiple_of=448, return_tensors="pt")
    rows = [{"input_ids": list(range(10, 10 + n)), "labels": list(range(10, 10 + n))} for n in (70, 90)]
    for row in rows:
        row["attention_mask"] = [1] * len(row["input_ids"])
    model = tiny.llama(320).eval()

    def padded():
        batch = collator([dict(row) for row in rows])
        with torch.no_grad():
            return batch["input_ids"].shape[1], float(model(**batch).loss)

    def told(**changes):
        settings = {"pad": True, "packed": False} | changes
        trainer = types.SimpleNamespace(
            eval_data_collator=collator, args=types.SimpleNamespace(eval_sample_packing=settings["packed"])
        )
        pad_evaluation_to_its_rows({"pad_to_sequence_len": settings["pad"]}, trainer)

    told(packed=True)
    told(pad=False)
    whole = padded()
    assert whole[0] == 448
    told()
    assert padded() == (128, pytest.approx(whole[1], rel=1e-6))

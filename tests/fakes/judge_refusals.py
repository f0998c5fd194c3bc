"""How servers refuse, status and body, in their own words."""

from typing import Any

Refusal = tuple[int, Any]


def openai(status: int, text: str, **more: Any) -> Refusal:
    return status, {"error": {"message": text, **more}}


def vllm(text: str) -> Refusal:
    return 400, {"object": "error", "message": text, "type": "BadRequestError", "param": None, "code": 400}


TOO_LONG = {
    "vllm": vllm(
        "This model's maximum context length is 4096 tokens. However, you requested 5012 tokens (4500 in the messages,"
        " 512 in the completion). Please reduce the length of the messages or completion."
    ),
    "vllm, newer": openai(
        400,
        "'max_tokens' or 'max_completion_tokens' is too large: 512. This model's maximum context length is 4096 tokens"
        " and your request has 4000 input tokens",
        type="BadRequestError",
    ),
    "sglang": vllm("The input (5000 tokens) is longer than the model's context length (4096 tokens)."),
    "llama.cpp": openai(
        400,
        "the request exceeds the available context size, try increasing it",
        type="exceed_context_size_error",
        n_prompt_tokens=5000,
    ),
    "llama.cpp, older": openai(500, "context shift is disabled", type="server_error"),
    "ollama": openai(400, "prompt too long; exceeded max context length by 904 tokens", type="api_error"),
    "tgi": (
        422,
        {
            "error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096."
            " Given: 4500 `inputs` tokens and 512 `max_new_tokens`",
            "error_type": "validation",
        },
    ),
    "openai": openai(400, "Your input exceeds the context window of this model.", code="context_length_exceeded"),
    "one request over the minute": openai(
        429,
        "Request too large for gpt-4o on tokens per min (TPM): Limit 30000, Requested 40000.",
        code="rate_limit_exceeded",
    ),
    "vertex": (
        400,
        [{"error": {"message": "The input token count (40000) exceeds the maximum number of tokens allowed (32768)."}}],
    ),
    "nginx": (413, b"<html><head><title>413 Request Entity Too Large</title></head></html>"),
}
FILTERED = {
    "azure": openai(
        400,
        "The response was filtered due to the prompt triggering the content management policy.",
        code="content_filter",
    ),
    "openai": openai(
        400, "Invalid prompt: your prompt was flagged as potentially violating our usage policy.", code="invalid_prompt"
    ),
    "openrouter": openai(403, "Your input was flagged", metadata={"reasons": ["violence"]}),
}
# What it repeats of the request says nothing about its own state.
UNKNOWN = (422, {"detail": [{"type": "value_error", "loc": ["body"], "msg": "no", "input": "api key of the prompt"}]})
FOR_ALL = {
    "key": openai(401, "Incorrect API key provided"),
    "rights": openai(403, "You are not allowed to sample from this model"),
    "money": openai(402, "Insufficient Balance"),
    "model": (404, {"object": "error", "message": "The model `x` does not exist.", "type": "NotFoundError"}),
    "model with 400": openai(400, "model 'x' not found", code="model_not_found"),
    "key with 400": (400, [{"error": {"code": 400, "message": "API key not valid."}}]),
    "quota": openai(
        429,
        "You exceeded your current quota, please check your plan and billing details.",
        code="insufficient_quota",
    ),
    "field": openai(
        400,
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
        code="unsupported_parameter",
    ),
    "temperature": openai(
        400, "Unsupported value: 'temperature' does not support 0.0 with this model.", code="unsupported_value"
    ),
    "system": vllm("System role not supported"),
    "answer": openai(
        400,
        "max_tokens is too large: 50000. This model supports at most 16384 completion tokens, whereas you provided it.",
    ),
}

"""Hydra as a LlamaIndex LLM: `Settings.llm = HydraLLM()` is the whole migration."""

from __future__ import annotations

try:
    import llama_index.core
    import llama_index.llms.openai_like  # type: ignore[import-untyped]  # noqa: F401
except ImportError as missing:
    raise ImportError(
        'hydra_llamaindex needs LlamaIndex; install it with: pip install "hydra-llm[llamaindex]"'
    ) from missing

from hydra_llamaindex.llm import HydraLLM

__all__ = ["HydraLLM"]

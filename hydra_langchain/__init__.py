"""Hydra for LangChain: a chat model over many keys, and a chain that reads any length.

from hydra_langchain import ChatHydra

llm = ChatHydra()                     # every key the environment offers
llm.invoke("Why is the sky blue?")
"""

try:
    import langchain_core as _langchain_core
except ImportError as error:
    raise ImportError(
        "hydra_langchain needs LangChain, which is not installed here; "
        'run: pip install "hydra-llm[langchain]"'
    ) from error

from hydra_langchain.chat_model import ChatHydra
from hydra_langchain.documents import create_swarm_documents_chain

del _langchain_core

__all__ = ["ChatHydra", "create_swarm_documents_chain"]

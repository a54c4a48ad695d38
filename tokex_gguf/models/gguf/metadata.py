"""What a GGUF file says of itself, read and checked without llama.cpp.

llama.cpp aborts its process on many a damaged file. So a file is read here first: `glance`
follows the structure, `read` also holds what is said against what llama.cpp takes for granted.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from tokex_gguf.models.gguf.checks import TOKENS_KEY, check, check_kind
from tokex_gguf.models.gguf.reader import REPACKED, Array, BadHeader, Contents, cut, follow
from tokex_gguf.values.record import record

__all__ = ["BadHeader", "Header", "glance", "read", "tensor_bytes"]

FILE_TYPES = [
    *("F32", "F16", "Q4_0", "Q4_1", "Q4_1_SOME_F16", "Q4_2", "Q4_3", "Q8_0", "Q5_0", "Q5_1", "Q2_K", "Q3_K_S"),
    *("Q3_K_M", "Q3_K_L", "Q4_K_S", "Q4_K_M", "Q5_K_S", "Q5_K_M", "Q6_K", "IQ2_XXS", "IQ2_XS", "Q2_K_S"),
    *("IQ3_XS", "IQ3_XXS", "IQ1_S", "IQ4_NL", "IQ3_S", "IQ3_M", "IQ2_S", "IQ2_M", "IQ4_XS", "IQ1_M", "BF16"),
    *("Q4_0_4_4", "Q4_0_4_8", "Q4_0_8_8", "TQ1_0", "TQ2_0", "MXFP4_MOE", "NVFP4", "Q1_0", "Q2_0"),
]
"""Names of llama_ftype."""

GUESSED = 1024
"""A bit of llama_ftype."""


@record
class Header:
    """What a model's file says of it. In parts of a split file but the first, only tensors are described."""

    version: int
    architecture: str
    name: str
    """"" if none."""
    quantization: str
    """As llama.cpp names the file's type: Q4_K_M, F16; "unknown" if it does not say."""
    parameters: int
    """Elements of all tensors in this file."""
    tensors: int
    weight_bytes: int
    repacked_bytes: int
    """Of those, the ones of types that ggml may rearrange into a copy."""
    context_trained: int
    """Tokens; 0 if it does not say."""
    layers: int
    heads_kv: int | tuple[int, ...]
    """Of every layer, or layer by layer; 0 where there is no attention."""
    key_length: int
    """Elements per head."""
    value_length: int
    state_bytes: int
    """Of one sequence's recurrent state; 0 where there is none. Of hybrid models, an upper bound."""
    vocab_size: int
    chat_template: str
    """"" if none."""
    split: tuple[int, int]
    """This part's index from 0, and the number of parts."""

    def kv_bytes_per_token(self, bytes_per_value: float = 2.0) -> int:
        """Bytes that a token takes in the KV cache where every layer sees all positions."""
        heads = self.heads_kv * self.layers if isinstance(self.heads_kv, int) else sum(self.heads_kv)
        return int(heads * (self.key_length + self.value_length) * bytes_per_value)


def glance(path: Path) -> Header:
    """The header for a listing: the structure is followed, what it says is believed.

    Raises BadHeader, also where it says that it is no language model, or OSError.
    """
    contents = follow(path)
    check_kind(contents)
    return _header(contents)


def read(path: Path) -> Header:
    """The header, with everything checked that llama.cpp would stumble over.

    Raises BadHeader or OSError.
    """
    contents = follow(path)
    check(contents)
    return _header(contents)


_LAYER = re.compile(rb"blk\.([0-9]+)\.")


def tensor_bytes(paths: Sequence[Path]) -> list[int]:
    """Bytes of the tensors of each layer of a model, in all its files; the last number is of its output.

    The embeddings of tokens are not among them, but where they are the output as well. Raises BadHeader or OSError.
    """
    tensors = {name: tensor.length for path in paths for name, tensor in follow(path).tensors.items()}
    layers: dict[int, int] = {}
    output = 0
    embeddings = tensors.pop(b"token_embd.weight", 0)
    for name, length in tensors.items():
        if found := _LAYER.match(name):
            layers[int(found[1])] = layers.get(int(found[1]), 0) + length
        else:
            output += length
    output += 0 if b"output.weight" in tensors else embeddings
    return [*(layers.get(index, 0) for index in range(max(layers, default=-1) + 1)), output]


def has_tensor(paths: Iterable[Path], name: str) -> bool:
    """Whether a model has a tensor of this name, or one in its first layer; False where its files cannot be read."""
    wanted = {name.encode(), f"blk.0.{name}".encode()}
    try:
        return any(wanted & follow(path).tensors.keys() for path in paths)
    except (BadHeader, OSError):
        return False


def _header(contents: Contents) -> Header:
    heads = contents.integers("ARCH.attention.head_count", 0)
    most = heads if isinstance(heads, int) else max(heads, default=0)
    head = contents.integer("ARCH.embedding_length", 0) // most if most > 0 else 0
    tokens = contents.get(TOKENS_KEY)
    listed = tokens.length if isinstance(tokens, Array) else 0
    kind = contents.integer("general.file_type", -1) & ~GUESSED
    template = contents.get("tokenizer.chat_template")
    return Header(
        version=contents.version,
        architecture=contents.architecture,
        name=contents.text("general.name"),
        quantization=FILE_TYPES[kind] if 0 <= kind < len(FILE_TYPES) else "unknown",
        parameters=sum(tensor.elements for tensor in contents.tensors.values()),
        tensors=len(contents.tensors),
        weight_bytes=sum(tensor.length for tensor in contents.tensors.values()),
        repacked_bytes=sum(tensor.length for tensor in contents.tensors.values() if tensor.type in REPACKED),
        context_trained=contents.integer("ARCH.context_length", 0),
        layers=contents.integer("ARCH.block_count", 0),
        heads_kv=contents.integers("ARCH.attention.head_count_kv", heads),
        key_length=contents.integer("ARCH.attention.key_length", head) if most else 0,
        value_length=contents.integer("ARCH.attention.value_length", head) if most else 0,
        state_bytes=4 * _state(contents),
        vocab_size=listed or contents.integer("ARCH.vocab_size", 0),
        chat_template=cut(template).decode(errors="replace") if isinstance(template, bytes) else "",
        split=contents.split,
    )


def _state(contents: Contents) -> int:
    """Numbers in one sequence's recurrent state: of Mamba's layers and those like it, or of RWKV's."""
    layers = contents.integer("ARCH.block_count", 0)
    heads = contents.integers("ARCH.attention.head_count_kv", 0)
    if isinstance(heads, tuple):  # of a hybrid model: the layers without attention
        layers = heads.count(0)
    inner, state, kernel, groups = (
        contents.integer(f"ARCH.ssm.{key}", 0) for key in ("inner_size", "state_size", "conv_kernel", "group_count")
    )
    if head := contents.integer("ARCH.wkv.head_size", 0):
        return layers * contents.integer("ARCH.embedding_length", 0) * (head + 2)
    return layers * (state * inner + max(0, kernel - 1) * (inner + 2 * groups * state))

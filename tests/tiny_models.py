"""Small GGUF files with random weights, one for each kind of layout that the engine must cope with.

Seeded, so that a file is the same on every machine. Weights are scaled so that a distribution is
neither flat nor one-hot and depends on every token before it: `tests/engine/test_walks.py` holds that.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

from tokex_gguf.models.gguf.reader import Array, follow

WIDTH, FEED, LAYERS = 64, 128, 3
HEADS, KV_HEADS = 4, 2
HEAD = WIDTH // HEADS
TRAINED = 1024
"""Tokens that every model says it was trained for."""
WINDOW = 8
"""Positions that a sliding-window layer sees, its own included."""
EXPERTS, EXPERTS_USED = 4, 2
INNER, STATE, KERNEL, RANK = 2 * WIDTH, 16, 4, 4
LOGIT_SPREAD = 2.5
"""Standard deviation of the logits."""

WORDS = [
    *("the", "there", "then", "and", "answer", "in", "into", "of", "on", "to", "two", "that", "it", "is", "was"),
    *("for", "one", "once", "upon", "a", "time", "cat", "café", "日本", "🙂"),
]
END = "<|endoftext|>"


class _File:
    """A GGUF file in the making."""

    def __init__(self, path: Path, architecture: str, layers: int = LAYERS, trained: int = 0) -> None:
        self.path = path
        self.layers = layers
        self.writer = writer = gguf.GGUFWriter(path, architecture)
        self._random = np.random.default_rng(list(architecture.encode()))
        # Whatever is called Phi-3 must have tokens of its vocabulary.
        writer.add_name("tiny longrope" if architecture == "phi3" else f"tiny {architecture}")
        writer.add_context_length(trained or TRAINED)
        writer.add_embedding_length(WIDTH)
        writer.add_block_count(layers)
        writer.add_file_type(gguf.LlamaFileType.ALL_F32)

    # --- hyperparameters

    def attention(self, heads_kv: int | list[int] = KV_HEADS, *, rms: bool = True) -> None:
        """The keys of layers with attention and a feed-forward part."""
        self.writer.add_feed_forward_length(FEED)
        self.writer.add_head_count(HEADS)
        self.writer.add_head_count_kv(heads_kv)
        if rms:
            self.writer.add_layer_norm_rms_eps(1e-6)
        else:
            self.writer.add_layer_norm_eps(1e-5)

    def recurrence(self) -> None:
        """The keys of Mamba layers."""
        self.writer.add_ssm_conv_kernel(KERNEL)
        self.writer.add_ssm_inner_size(INNER)
        self.writer.add_ssm_state_size(STATE)
        self.writer.add_ssm_time_step_rank(RANK)
        self.writer.add_layer_norm_rms_eps(1e-6)

    # --- tensors

    def normal(self, name: str, *shape: int, spread: float = 1.0) -> None:
        """A random matrix (outputs, inputs): unit inputs give outputs of standard deviation `spread`."""
        values = self._random.standard_normal(shape) * spread / math.sqrt(shape[-1])
        self.tensor(name, values)

    def norm(self, name: str, size: int = WIDTH, *, bias: bool = False) -> None:
        """A normalisation's weights, about 1, and biases, about 0."""
        self.tensor(f"{name}.weight", 1 + 0.2 * self._random.standard_normal(size))
        if bias:
            self.bias(name, size)

    def bias(self, name: str, size: int) -> None:
        self.tensor(f"{name}.bias", 0.2 * self._random.standard_normal(size))

    def tensor(self, name: str, values: NDArray[np.float64]) -> None:
        self.writer.add_tensor(name, values.astype(np.float32))

    def ends(self, vocabulary: int, *, norm_bias: bool = False) -> None:
        """The embedding, and from the last layer to logits."""
        # A small embedding leaves more to what attention brings from other positions.
        self.normal("token_embd.weight", vocabulary, WIDTH, spread=0.5 * math.sqrt(WIDTH))
        self.norm("output_norm", bias=norm_bias)
        self.normal("output.weight", vocabulary, WIDTH, spread=LOGIT_SPREAD)

    def heads(self, block: str, *, bias: bool = False) -> None:
        """Queries, keys, values and their way out."""
        for name, size in (("q", WIDTH), ("k", KV_HEADS * HEAD), ("v", KV_HEADS * HEAD)):
            self.normal(f"{block}.attn_{name}.weight", size, WIDTH)
            if bias:
                self.bias(f"{block}.attn_{name}", size)
        self.normal(f"{block}.attn_output.weight", WIDTH, WIDTH, spread=3)

    def feed(self, block: str) -> None:
        """A gated feed-forward part."""
        self.normal(f"{block}.ffn_gate.weight", FEED, WIDTH)
        self.normal(f"{block}.ffn_up.weight", FEED, WIDTH)
        self.normal(f"{block}.ffn_down.weight", WIDTH, FEED)

    def mamba(self, block: str, *, norms: bool = False) -> None:
        """A Mamba layer that forgets slowly: its state still holds a token after a hundred others."""
        self.normal(f"{block}.ssm_in.weight", 2 * INNER, WIDTH)
        self.normal(f"{block}.ssm_conv1d.weight", INNER, KERNEL)
        self.bias(f"{block}.ssm_conv1d", INNER)
        self.normal(f"{block}.ssm_x.weight", RANK + 2 * STATE, INNER, spread=2)
        self.normal(f"{block}.ssm_dt.weight", INNER, RANK)
        self.tensor(f"{block}.ssm_dt.bias", np.full(INNER, -1.0))
        self.tensor(f"{block}.ssm_a", -np.tile(np.geomspace(0.003, 0.3, STATE), (INNER, 1)))
        self.tensor(f"{block}.ssm_d", np.ones(INNER))
        self.normal(f"{block}.ssm_out.weight", WIDTH, INNER)
        if norms:
            self.norm(f"{block}.ssm_dt_norm", RANK)
            self.norm(f"{block}.ssm_b_norm", STATE)
            self.norm(f"{block}.ssm_c_norm", STATE)

    def blocks(self) -> list[str]:
        return [f"blk.{layer}" for layer in range(self.layers)]

    def close(self) -> Path:
        self.writer.write_header_to_file()
        self.writer.write_kv_data_to_file()
        self.writer.write_tensors_to_file()
        self.writer.close()
        return self.path


# --- vocabularies


def _byte_letters() -> list[str]:
    """The letter that stands for each byte in a byte-level vocabulary, as GPT-2 has it."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in plain]
    return [chr(byte) if byte in plain else chr(256 + others.index(byte)) for byte in range(256)]


def _prefixes(words: Sequence[str]) -> list[str]:
    """Every beginning of two letters and more, each once: what grows letter by letter into the words."""
    return list(dict.fromkeys(word[:end] for word in words for end in range(2, len(word) + 1)))


def _add_bpe(
    file: _File, more: Sequence[bytes] = (), names: Sequence[str] = (), pre: str = "qwen2", without: bytes = b""
) -> int:
    """A byte-level vocabulary, with more tokens and special ones of some names, and without some bytes; its size.

    An empty `pre` is left out, as in files of before there was one.
    """
    letters = _byte_letters()
    spelled = ["".join(letters[byte] for byte in text.encode()) for word in WORDS for text in (word, f" {word}")]
    merged = _prefixes(spelled)
    others = [text for data in more if (text := "".join(letters[byte] for byte in data)) not in {*letters, *merged}]
    special = [END, "<|im_start|>", "<|im_end|>", *names]
    tokens = [*(letter for byte, letter in enumerate(letters) if byte not in without), *merged, *others, *special]
    normal, control = gguf.TokenType.NORMAL, gguf.TokenType.CONTROL
    writer = file.writer
    writer.add_tokenizer_model("gpt2")
    if pre:
        writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types([*[normal] * (len(tokens) - len(special)), *[control] * len(special)])
    writer.add_token_merges([f"{token[:-1]} {token[-1]}" for token in merged])
    writer.add_bos_token_id(tokens.index(END))
    writer.add_eos_token_id(tokens.index(END))
    writer.add_add_bos_token(False)
    return len(tokens)


def _add_spm(file: _File, more: Sequence[str] = ()) -> int:
    """A SentencePiece vocabulary with BOS, a token for each byte, and more; returns its size."""
    alphabet = [*dict.fromkeys("▁" + "".join(map(chr, range(33, 127))) + "".join(WORDS))]
    pieces = [*_prefixes([text for word in WORDS for text in (word, f"▁{word}")]), *alphabet]
    pieces = list(dict.fromkeys([*pieces, *more]))
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *pieces]
    kinds = [gguf.TokenType.UNKNOWN, *[gguf.TokenType.CONTROL] * 2]
    kinds += [*[gguf.TokenType.BYTE] * 256, *[gguf.TokenType.NORMAL] * len(pieces)]
    writer = file.writer
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * 259 + [-float(rank) for rank in range(len(pieces))])
    writer.add_token_types(kinds)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_add_bos_token(True)
    writer.add_add_space_prefix(True)
    return len(tokens)


# --- models that continue text


def set_key(key: str, value: Any, kind: gguf.GGUFValueType) -> Callable[[gguf.GGUFWriter], None]:
    """Adds a key, or gives it another value."""

    def change(writer: gguf.GGUFWriter) -> None:
        writer.kv_data[0][key] = gguf.gguf_writer.GGUFValue(value, kind)

    return change


def without_keys(*keys: str) -> Callable[[gguf.GGUFWriter], None]:
    def change(writer: gguf.GGUFWriter) -> None:
        for key in keys:
            del writer.kv_data[0][key]

    return change


def qwen2(
    folder: Path,
    name: str = "qwen2",
    more: Sequence[bytes] = (),
    names: Sequence[str] = (),
    pre: str = "qwen2",
    change: Callable[[gguf.GGUFWriter], None] = lambda _: None,
    without: bytes = b"",
) -> Path:
    """A byte-level vocabulary without BOS; attention with biases. `change` has the last word on keys and tensors."""
    file = _File(folder / f"{name}.gguf", "qwen2")
    file.attention()
    file.ends(_add_bpe(file, more, names, pre, without))
    for block in file.blocks():
        file.norm(f"{block}.attn_norm")
        file.heads(block, bias=True)
        file.norm(f"{block}.ffn_norm")
        file.feed(block)
    change(file.writer)
    return file.close()


def llama(folder: Path, name: str = "llama", more: Sequence[str] = ()) -> Path:
    """A SentencePiece vocabulary with BOS, a space before the text, and tokens for bytes."""
    file = _File(folder / f"{name}.gguf", "llama")
    file.attention()
    file.writer.add_rope_dimension_count(HEAD)
    file.ends(_add_spm(file, more))
    for block in file.blocks():
        file.norm(f"{block}.attn_norm")
        file.heads(block)
        file.norm(f"{block}.ffn_norm")
        file.feed(block)
    return file.close()


def light(folder: Path, model: Path) -> Path:
    """The vocabulary of a real model of that kind, and next to nothing to compute: its tokens, but not what it says."""
    contents = follow(model)
    file = _File(folder / "light.gguf", "llama", layers=1)
    file.attention()
    writer = file.writer
    set_key("llama.context_length", 8192, gguf.GGUFValueType.UINT32)(writer)
    writer.add_rope_dimension_count(HEAD)
    writer.add_tokenizer_model(contents.text("tokenizer.ggml.model"))
    writer.add_tokenizer_pre(contents.text("tokenizer.ggml.pre"))
    names, kinds, merges = (contents.get(f"tokenizer.ggml.{name}") for name in ("tokens", "token_type", "merges"))
    assert isinstance(names, Array) and isinstance(kinds, Array) and isinstance(merges, Array)
    tokens = contents.strings(names)
    writer.add_token_list(tokens)
    writer.add_token_types(np.fromfile(model, "<i4", kinds.length, offset=kinds.at).tolist())
    writer.add_token_merges(contents.strings(merges))
    writer.add_bos_token_id(contents.integer("tokenizer.ggml.bos_token_id", 0))
    writer.add_eos_token_id(contents.integer("tokenizer.ggml.eos_token_id", 0))
    file.ends(len(tokens))
    for block in file.blocks():
        file.norm(f"{block}.attn_norm")
        file.heads(block)
        file.norm(f"{block}.ffn_norm")
        file.feed(block)
    return file.close()


def gpt2(folder: Path, trained: int = TRAINED) -> Path:
    """Learned positions, so none beyond those trained."""
    file = _File(folder / "gpt2.gguf", "gpt2", trained=trained)
    file.attention(HEADS, rms=False)
    file.ends(_add_bpe(file), norm_bias=True)
    file.normal("position_embd.weight", trained, WIDTH, spread=0.3 * math.sqrt(WIDTH))
    for block in file.blocks():
        file.norm(f"{block}.attn_norm", bias=True)
        file.normal(f"{block}.attn_qkv.weight", 3 * WIDTH, WIDTH)
        file.bias(f"{block}.attn_qkv", 3 * WIDTH)
        file.normal(f"{block}.attn_output.weight", WIDTH, WIDTH, spread=3)
        file.bias(f"{block}.attn_output", WIDTH)
        file.norm(f"{block}.ffn_norm", bias=True)
        file.normal(f"{block}.ffn_up.weight", FEED, WIDTH)
        file.bias(f"{block}.ffn_up", FEED)
        file.normal(f"{block}.ffn_down.weight", WIDTH, FEED)
        file.bias(f"{block}.ffn_down", WIDTH)
    return file.close()


def longrope(folder: Path) -> Path:
    """Positions rotated by factors that the context's size decides on, as in Phi-3.

    Trained for half of TRAINED positions first.
    """
    file = _File(folder / "longrope.gguf", "phi3", trained=2 * TRAINED)
    file.attention()
    file.writer.add_rope_dimension_count(HEAD)
    file.writer.add_rope_scaling_orig_ctx_len(TRAINED // 2)
    file.writer.add_rope_scaling_attn_factors(1.2)
    file.writer.add_sliding_window(0)
    file.ends(_add_bpe(file))
    pairs = np.arange(HEAD // 2, dtype=np.float64)
    file.tensor("rope_factors_long.weight", 1.1 + pairs**2)
    file.tensor("rope_factors_short.weight", 1.0 + 0.2 * pairs)
    for block in file.blocks():
        file.norm(f"{block}.attn_norm")
        file.normal(f"{block}.attn_qkv.weight", WIDTH + 2 * KV_HEADS * HEAD, WIDTH)
        file.normal(f"{block}.attn_output.weight", WIDTH, WIDTH, spread=3)
        file.norm(f"{block}.ffn_norm")
        file.normal(f"{block}.ffn_up.weight", 2 * FEED, WIDTH)
        file.normal(f"{block}.ffn_down.weight", WIDTH, FEED)
    return file.close()


def gemma3(folder: Path) -> Path:
    """Two layers that see WINDOW positions for each one that sees all: a cache of its own for each kind."""
    file = _File(folder / "gemma3.gguf", "gemma3")
    file.attention()
    file.writer.add_key_length(HEAD)
    file.writer.add_value_length(HEAD)
    file.writer.add_sliding_window(WINDOW)
    file.writer.add_sliding_window_pattern([True, True, False])
    file.ends(_add_spm(file))
    for block in file.blocks():
        file.norm(f"{block}.attn_norm")
        file.heads(block)
        file.norm(f"{block}.attn_q_norm", HEAD)
        file.norm(f"{block}.attn_k_norm", HEAD)
        file.norm(f"{block}.post_attention_norm")
        file.norm(f"{block}.ffn_norm")
        file.feed(block)
        file.norm(f"{block}.post_ffw_norm")
    return file.close()


def mamba(folder: Path) -> Path:
    """Recurrent: a state that takes tokens in and never gives one back."""
    file = _File(folder / "mamba.gguf", "mamba")
    file.writer.add_head_count(0)
    file.writer.add_feed_forward_length(0)
    file.recurrence()
    file.ends(_add_bpe(file))
    for block in file.blocks():
        file.norm(f"{block}.attn_norm")
        file.mamba(block)
    return file.close()


def mixture(folder: Path) -> Path:
    """A few experts of many for each token."""
    file = _File(folder / "mixture.gguf", "llama")
    file.attention()
    file.writer.add_rope_dimension_count(HEAD)
    file.writer.add_expert_count(EXPERTS)
    file.writer.add_expert_used_count(EXPERTS_USED)
    file.ends(_add_bpe(file))
    for block in file.blocks():
        file.norm(f"{block}.attn_norm")
        file.heads(block)
        file.norm(f"{block}.ffn_norm")
        file.normal(f"{block}.ffn_gate_inp.weight", EXPERTS, WIDTH)
        file.normal(f"{block}.ffn_gate_exps.weight", EXPERTS, FEED, WIDTH)
        file.normal(f"{block}.ffn_up_exps.weight", EXPERTS, FEED, WIDTH)
        file.normal(f"{block}.ffn_down_exps.weight", EXPERTS, WIDTH, FEED)
    return file.close()


def jamba(folder: Path) -> Path:
    """Hybrid: Mamba layers and one with attention."""
    heads_kv = [0, KV_HEADS, 0, 0]
    file = _File(folder / "jamba.gguf", "jamba", len(heads_kv))
    file.writer.add_feed_forward_length(FEED)
    file.writer.add_head_count(HEADS)
    file.writer.add_head_count_kv(heads_kv)
    file.recurrence()
    file.ends(_add_spm(file))
    for block, heads in zip(file.blocks(), heads_kv, strict=True):
        file.norm(f"{block}.attn_norm")
        if heads:
            file.heads(block)
        else:
            file.mamba(block, norms=True)
        file.norm(f"{block}.ffn_norm")
        file.feed(block)
    return file.close()


# --- files that are no such model


def encoder(folder: Path) -> Path:
    """A BERT: it embeds text and does not continue it."""
    file = _File(folder / "encoder.gguf", "bert")
    file.attention(HEADS, rms=False)
    writer = file.writer
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.MEAN)
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokens = [*special, *(f"▁{chr(letter)}" for letter in range(33, 127)), *map(chr, range(33, 127))]
    writer.add_tokenizer_model("bert")
    writer.add_token_list(tokens)
    writer.add_token_types([*[gguf.TokenType.CONTROL] * 5, *[gguf.TokenType.NORMAL] * (len(tokens) - 5)])
    writer.add_token_type_count(2)
    writer.add_pad_token_id(0)
    writer.add_unk_token_id(1)
    writer.add_sep_token_id(3)
    writer.add_mask_token_id(4)
    file.normal("token_embd.weight", len(tokens), WIDTH)
    file.normal("token_types.weight", 2, WIDTH)
    file.normal("position_embd.weight", TRAINED, WIDTH)
    file.norm("token_embd_norm", bias=True)
    for block in file.blocks():
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            file.normal(f"{block}.{name}.weight", WIDTH, WIDTH)
            file.bias(f"{block}.{name}", WIDTH)
        file.norm(f"{block}.attn_output_norm", bias=True)
        file.normal(f"{block}.ffn_up.weight", FEED, WIDTH)
        file.bias(f"{block}.ffn_up", FEED)
        file.normal(f"{block}.ffn_down.weight", WIDTH, FEED)
        file.bias(f"{block}.ffn_down", WIDTH)
        file.norm(f"{block}.layer_output_norm", bias=True)
    return file.close()


def vocabulary(folder: Path) -> Path:
    """A vocabulary and hyperparameters without any tensor, as llama.cpp tests its tokenizers with."""
    file = _File(folder / "vocabulary.gguf", "llama")
    file.attention()
    file.writer.add_rope_dimension_count(HEAD)
    _add_spm(file)
    return file.close()


Writer = Callable[[Path], Path]

MODELS: dict[str, Writer] = {
    "qwen2": qwen2,
    "llama": llama,
    "gpt2": gpt2,
    "gemma3": gemma3,
    "mamba": mamba,
    "mixture": mixture,
    "jamba": jamba,
}
"""Files that the engine plays with."""

REFUSED: dict[str, Writer] = {"encoder": encoder, "vocabulary": vocabulary}
"""Files that it must refuse."""


def _not_a_model(name: str, architecture: str, tensor: str, **keys: str | bool | float) -> Writer:
    """A file with one tensor and a few keys; `__` in a key's name stands for a dot."""

    def write(folder: Path) -> Path:
        writer = gguf.GGUFWriter(folder / f"{name}.gguf", architecture)
        add = {str: writer.add_string, bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32}
        for key, value in keys.items():
            add[type(value)](key.replace("__", "."), value)  # type: ignore[operator]
        writer.add_tensor(tensor, np.zeros((8, 8), np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return folder / f"{name}.gguf"

    return write


_Keys = dict[str, str | bool | float]
_LORA: _Keys = {"adapter__type": "lora", "adapter__lora__alpha": 16.0}
_VOCODER: _Keys = {
    f"wavtokenizer-dec__{key}": value
    for key, value in {"block_count": 1, "context_length": 64, "embedding_length": 8, "vocab_size": 4096}.items()
}
_NO_MODELS: list[tuple[str, str, str, _Keys, str]] = [
    ("mmproj", "clip", "v.patch_embd.weight", {"general__type": "mmproj"}, "a multimodal projector"),
    ("old-mmproj", "clip", "v.patch_embd.weight", {"clip__has_vision_encoder": True}, "a multimodal projector"),
    ("lora", "llama", "blk.0.attn_q.weight.lora_a", {"general__type": "adapter", **_LORA}, "a LoRA adapter"),
    ("old-lora", "llama", "blk.0.attn_q.weight.lora_a", _LORA, "a LoRA adapter"),
    ("imatrix", "", "blk.0.attn_q.weight.in_sum2", {"general__type": "imatrix"}, "an importance matrix"),
    ("control-vector", "controlvector", "direction.1", {"controlvector__layer_count": 2}, "a control vector"),
    ("vocoder", "wavtokenizer-dec", "token_embd.weight", _VOCODER, "a vocoder"),
    ("whisper", "whisper", "encoder.conv1.weight", {}, "a model that writes down speech"),
    ("images", "flux", "double_blocks.0.img_mlp.0.weight", {}, "a model that makes images"),
]
NO_MODELS: dict[str, tuple[Writer, str]] = {
    name: (_not_a_model(name, architecture, tensor, **keys), what)
    for name, architecture, tensor, keys, what in _NO_MODELS
}
"""Files that hold something else, and what each is said to be."""

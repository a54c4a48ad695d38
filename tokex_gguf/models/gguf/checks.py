"""What llama.cpp takes for granted of a model's file, and aborts its process where it is not so.

The checks follow the assertions of the release in llama-cpp-python 0.3.36.
"""

import re
from typing import NoReturn

from tokex_gguf.models.gguf.reader import FLOAT32, INT32, STRING, Array, BadHeader, Contents, cut, shown

MOST_TOKENS = 1 << 21
MOST_LAYERS = 512
"""LLAMA_MAX_LAYERS."""
MOST_EXPERTS = 1024
"""LLAMA_MAX_EXPERTS."""
ALIGNED = 32
"""TENSOR_ALIGNMENT: where the weights of a mapped file must begin, whatever alignment the file says it has."""
TOKENS_KEY = "tokenizer.ggml.tokens"
_ADAPTER = "a LoRA adapter, which changes a model that is in a file of its own"
_OTHER_TYPES = {
    b"adapter": _ADAPTER,
    b"mmproj": "a multimodal projector (mmproj), the part of a model that reads images or audio",
    b"imatrix": "an importance matrix (imatrix), which helps to quantize a model",
}
"""What files hold that are no models, by their `general.type`."""
_IMAGES = "a model that makes images or video"
_OTHER_ARCHITECTURES = {
    "clip": _OTHER_TYPES[b"mmproj"],
    "imatrix": _OTHER_TYPES[b"imatrix"],
    "controlvector": "a control vector, which steers a model that is in a file of its own",
    "wavtokenizer-dec": "a vocoder, the part of a text-to-speech model that makes sound",
    "whisper": "a model that writes down speech",
    "t5encoder": "a text encoder, which makes vectors of a text",
    **dict.fromkeys(("flux", "sd1", "sd3", "sdxl", "aura", "hidream", "cosmos", "ltxv", "hyvid", "wan"), _IMAGES),
    **dict.fromkeys(("lumina2", "qwen_image", "pig"), _IMAGES),
}
"""The same by their architecture. Those of images are names that stable-diffusion.cpp and ComfyUI-GGUF use."""
ROPE_SCALINGS = (b"none", b"linear", b"yarn", b"longrope")
TWICE_AS_WIDE = ("jamba", "granitehybrid")
"""Architectures whose recurrent layers must be twice as wide as the model."""
_ADDED = re.compile(rb"blk\.\d+\.(\w+(_norm\.weight|\.bias)|ssm_(a|d|conv1d\.weight))|output_norm\.(weight|bias)")
"""Tensors that ggml multiplies, adds or convolves with, which it does on a CPU with plain numbers only."""
_EXPERTS = re.compile(rb"blk\.\d+\.ffn_(gate|up|down)_exps\.weight")
_ATTENTION = re.compile(rb"blk\.\d+\.attn_(q|qkv|q_a)\.weight")


def check(contents: Contents) -> None:
    """Holds what a file says against what llama.cpp expects. Raises BadHeader."""
    if contents.first_part:
        check_kind(contents)
        _check_architecture(contents)
        _check_sizes(contents)
        _check_heads(contents)
        _check_experts(contents)
        _check_vocabulary(contents)
    _check_tensors(contents)


def check_kind(contents: Contents) -> None:
    """Refuses files that hold something else than a language model, by what they say they hold. Raises BadHeader."""
    kind, architecture = contents.get("general.type"), contents.architecture
    # Adapters made before there was `general.type` name the architecture that they are for.
    what = _OTHER_TYPES.get(cut(kind)) if isinstance(kind, bytes) else None
    what = what or (_ADAPTER if "adapter.type" in contents.values else None) or _OTHER_ARCHITECTURES.get(architecture)
    if what:
        raise BadHeader(f"not a language model but {what}")
    # The first part of a split file may hold the metadata alone.
    if not contents.tensors and contents.split[1] == 1:
        raise BadHeader("a vocabulary without a model (no tensors)")


def _check_architecture(contents: Contents) -> None:
    if "general.architecture" not in contents.values:
        raise BadHeader("'general.architecture' is missing")
    if not contents.text("general.architecture"):
        raise BadHeader("'general.architecture' is empty")


def _refuse(contents: Contents, key: str, why: str) -> NoReturn:
    raise BadHeader(f"{shown(contents.full(key).encode())} {why}")


def _check_sizes(contents: Contents) -> None:
    for key, most in (
        ("ARCH.block_count", MOST_LAYERS),
        ("ARCH.context_length", None),
        ("ARCH.embedding_length", None),
    ):
        if contents.get(key) is None:
            _refuse(contents, key, "is missing")
        value = contents.integer(key, 0)
        if value < 1 or value > (most or value):
            _refuse(contents, key, f"is {value:,}, " + (f"not 1 to {most}" if most else "not above 0"))
    layers = contents.integer("ARCH.block_count", 0)
    if (ahead := contents.integer("ARCH.nextn_predict_layers", 0)) > layers:
        _refuse(contents, "ARCH.nextn_predict_layers", f"is {ahead:,}, more than the {layers} layers")
    for key in ("layer_norm_epsilon", "layer_norm_rms_epsilon", "group_norm_epsilon"):
        epsilon = contents.get(f"ARCH.attention.{key}")
        if isinstance(epsilon, float) and not epsilon >= 0:  # nor NaN
            _refuse(contents, f"ARCH.attention.{key}", f"is {epsilon:g}, which is below 0 or no number")
    width, inner = contents.integer("ARCH.embedding_length", 0), contents.integer("ARCH.ssm.inner_size", 0)
    if contents.architecture in TWICE_AS_WIDE and inner != 2 * width:
        _refuse(contents, "ARCH.ssm.inner_size", f"is {inner:,}, not twice {width:,}")
    scaling = contents.get("ARCH.rope.scaling.type")
    if isinstance(scaling, bytes) and cut(scaling) not in ROPE_SCALINGS:
        _refuse(contents, "ARCH.rope.scaling.type", f"is unknown: {shown(scaling)}")


def _check_heads(contents: Contents) -> None:
    layers = contents.integer("ARCH.block_count", 0)
    heads, heads_kv = (
        (value,) * layers if isinstance(value, int) else value
        for value in (
            contents.integers("ARCH.attention.head_count", 0),
            contents.integers("ARCH.attention.head_count_kv", contents.integers("ARCH.attention.head_count", 0)),
        )
    )
    if min(heads) < 0 or min(heads_kv) < 0:
        _refuse(contents, "ARCH.attention.head_count", "or that of keys and values is below 0")
    # Recurrent models say 0.
    if not max(heads) and (name := next(filter(_ATTENTION.fullmatch, contents.tensors), None)):
        _refuse(contents, "ARCH.attention.head_count", f"is 0, but there is a tensor {shown(name)}")
    if max(heads_kv) and contents.get("ARCH.attention.key_length") == 0:
        _refuse(contents, "ARCH.attention.key_length", f"is 0 with {max(heads_kv):,} heads")
    for layer, (queries, keys) in enumerate(zip(heads, heads_kv, strict=True)):
        if keys and queries % keys:
            _refuse(
                contents, "ARCH.attention.head_count", f"is {queries} in layer {layer}, no multiple of {keys} for keys"
            )


def _check_experts(contents: Contents) -> None:
    experts = contents.integer("ARCH.expert_count", 0)
    if not 0 <= experts <= MOST_EXPERTS:
        _refuse(contents, "ARCH.expert_count", f"is {experts:,}, not 0 to {MOST_EXPERTS}")
    if not experts and (name := next(filter(_EXPERTS.fullmatch, contents.tensors), None)):
        _refuse(contents, "ARCH.expert_count", f"is 0, but there is a tensor {shown(name)}")
    if experts == 1 and contents.architecture in ("hunyuan_vl", "hunyuan-dense"):
        return  # llama.cpp takes these for no experts
    used = contents.integers("ARCH.expert_used_count", 0)
    most = used if isinstance(used, int) else max(used, default=0)
    if most > experts:
        _refuse(contents, "ARCH.expert_used_count", f"is {most:,} of {experts:,} experts")
    if experts and most < 1:
        _refuse(contents, "ARCH.expert_used_count", f"is 0 of {experts:,} experts")
    groups, groups_used = (contents.integer(f"ARCH.expert_group_{key}", 0) for key in ("count", "used_count"))
    if groups and (
        groups >= experts or groups < 0 or experts % groups or not (groups == 1 or 0 < groups_used < groups)
    ):
        _refuse(contents, "ARCH.expert_group_count", f"is {groups:,} ({groups_used:,} used) for {experts:,} experts")


def _check_tensors(contents: Contents) -> None:
    if contents.start % ALIGNED:
        raise BadHeader(f"its weights begin at byte {contents.start:,}, which is no multiple of {ALIGNED}")
    for name, tensor in contents.tensors.items():
        if tensor.type and _ADDED.fullmatch(name):
            raise BadHeader(f"tensor {shown(name)} is not of type F32: no CPU can use it")


def _check_vocabulary(contents: Contents) -> None:
    if contents.text("tokenizer.ggml.model") in ("no_vocab", "none"):
        raise BadHeader("a model without a vocabulary, which cannot be given a text")
    tokens = _typed_array(contents, TOKENS_KEY, (STRING,))
    if not tokens:
        raise BadHeader(f"'{TOKENS_KEY}' is missing")
    if not 0 < tokens.length <= MOST_TOKENS:
        raise BadHeader(f"a vocabulary of {tokens.length:,} tokens" if tokens.length else "the vocabulary is empty")
    for key, types in (("scores", (FLOAT32, INT32)), ("token_type", (INT32,))):
        array = _typed_array(contents, f"tokenizer.ggml.{key}", types)
        if array and array.length < tokens.length:
            raise BadHeader(f"'tokenizer.ggml.{key}' has {array.length:,} entries for {tokens.length:,} tokens")
    _typed_array(contents, "tokenizer.ggml.merges", (STRING,))
    texts = contents.strings(tokens)
    if b"\0" in b"".join(texts):
        texts = [cut(text) for text in texts]
    if len(set(texts)) < len(texts):
        first: dict[bytes, int] = {}
        for token, text in enumerate(texts):
            # Empty ones are told apart by llama.cpp.
            if (before := first.setdefault(text or b"[EMPTY_%d]" % token, token)) != token:
                raise BadHeader(f"token {shown(text)} is in the vocabulary twice (ids {before} and {token})")


def _typed_array(contents: Contents, key: str, types: tuple[int, ...]) -> Array | None:
    """An array whose items must have one of these types; None if there is none."""
    array = contents.get(key)
    if array is not None and not (isinstance(array, Array) and array.type in types):
        raise BadHeader(f"'{key}' is not an array of {'texts' if STRING in types else 'numbers of the right type'}")
    return array

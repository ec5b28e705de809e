"""Answers to the exercises of chapter 8, right and wrong, as learners write them."""

import json
import math
import struct

import torch
from collecting import right, wrong_edits

from gptcourse.gpt import map_name

# ----------------------------------------------------------------------------- read_safetensors


@right("read_safetensors")
def all_at_once(path):
    types = {"F32": torch.float32, "F16": torch.float16, "U8": torch.uint8, "BOOL": torch.bool}
    with open(path, "rb") as file:
        content = bytearray(file.read())
    (length,) = struct.unpack("<Q", content[:8])
    start = 8 + length
    header = json.loads(content[8:start].decode("utf-8"))
    return {
        name: torch.frombuffer(
            content, dtype=types[about["dtype"]], count=math.prod(about["shape"]),
            offset=start + about["data_offsets"][0],
        ).reshape(about["shape"])
        for name, about in header.items() if name != "__metadata__"
    }


@right("read_safetensors")
def with_a_closed_file(path):
    types = {"F32": torch.float32, "F16": torch.float16, "U8": torch.uint8, "BOOL": torch.bool}
    tensors = {}
    file = open(path, "rb")  # noqa: SIM115
    n = int.from_bytes(file.read(8), byteorder="little")
    header = json.loads(file.read(n).decode())
    numbers = file.read()
    file.close()
    for name in header:
        if name == "__metadata__":
            continue
        a, b = header[name]["data_offsets"]
        x = torch.frombuffer(bytearray(numbers[a:b]), dtype=types[header[name]["dtype"]])
        tensors[name] = x.reshape(header[name]["shape"])
    return tensors


LENGTH = 'int.from_bytes(file.read(8), "little")'
KEEP = 'tensors[name] = numbers.view(about["shape"])'

wrong_edits(
    "read_safetensors",
    ("file.seek(start + first)", "file.seek(8 + first)",
     "places count from where"),
    ("file.read(end - first)", "file.read(end)",
     "neither add nor drop"),
    ("file.read(end - first)", "file.read(end - first - 1)",
     "buffer length (47 bytes)"),
    ("bytearray(file.read(end - first))", "file.read(start + first, start + end)",
     "read expected at most 1"),
    (LENGTH, 'int.from_bytes(file.read(4), "little")',
     "say how long it is"),
    (LENGTH, "int(file.read(8))",
     "int reads digits only"),
    (f"json.loads(file.read({LENGTH}))", "json.loads(file.read())",
     "that isn't the header"),
    (f"json.loads(file.read({LENGTH}))", "json.load(file)",
     "that isn't the header"),
    (KEEP, 'tensors[name] = numbers.view(about["shape"][::-1])',
     "x has shape (4, 3)"),
    (KEEP, 'tensors[name] = numbers.view(about["shape"][::-1]).t()',
     "leave out the transpose"),
    (KEEP, 'tensors[name] = numbers.view(about["shape"]).float()',
     "half has shape (6, 2) and dtype torch.float32, but must"),
    (KEEP, 'tensors[name] = numbers.view(about["shape"]).tolist()',
     "must be a tensor"),
    (LENGTH, f"8 + {LENGTH}", "say how long it is"),
    ('"little"', '"big"', "the smallest one first"),
    ("file.seek(start + first)", "file.seek(first)", "count from where the header ends"),
    ("    return tensors", "    return list(tensors)",
     "must return a dictionary of tensors"),
    ("types[about[\"dtype\"]]", "about[\"dtype\"]",
     "must be torch.dtype, not str"),
)

# ------------------------------------------------------------------------------------- map_name


@right("map_name")
def part_by_part(name):
    parts = []
    for part in name.split("."):
        if part == "blocks":
            parts.append("h")
        elif part in ("query", "key", "value"):
            parts.append("c_attn")
        elif part in ("output", "contract"):
            parts.append("c_proj")
        elif part == "scale":
            parts.append("weight")
        elif part == "shift":
            parts.append("bias")
        else:
            parts.append({
                "token_embedding": "wte", "position_embedding": "wpe", "final_norm": "ln_f",
                "attention_norm": "ln_1", "feed_forward_norm": "ln_2", "attention": "attn",
                "feed_forward": "mlp", "expand": "c_fc", "output_head": "lm_head",
            }.get(part, part))
    return ".".join(parts)


@right("map_name")
def with_replaces_in_a_careful_order(name):
    for ours, other in [
        ("token_embedding", "wte"), ("position_embedding", "wpe"), ("blocks.", "h."),
        ("output_head", "lm_head"), ("attention_norm", "ln_1"), ("feed_forward_norm", "ln_2"),
        ("final_norm", "ln_f"), ("attention.output", "attn.c_proj"), ("attention.", "attn."),
        ("feed_forward", "mlp"), (".query", ".c_attn"), (".key", ".c_attn"), (".value", ".c_attn"),
        ("expand", "c_fc"), ("contract", "c_proj"), ("scale", "weight"), ("shift", "bias"),
    ]:
        name = name.replace(ours, other)
    return name


JOINED = '".".join(theirs.get(part, part) for part in name.split("."))'
wrong_edits(
    "map_name",
    ('"blocks": "h"', '"blocks": "transformer.h"',
     "4, and has 5"),
    ('"token_embedding": "wte"', '"token_embedding": "wpe"',
     "The part token_embedding becomes wpe, but must become wte"),
    ('"attention_norm": "ln_1"', '"attention_norm": "ln_2"',
     "attention_norm becomes ln_2"),
    ('"scale": "weight", "shift": "bias"', '"scale": "bias", "shift": "weight"',
     "scale becomes bias, but must become weight; wrong, too: shift"),
    ('"scale": "weight", "shift": "bias",', "",
     "scale stays as it is, but must become weight; wrong, too: shift"),
    (JOINED, 'theirs[name]',
     "KeyError: 'token_embedding.weight'"),
    (JOINED, '"".join(theirs.get(part, part) for part in name.split("."))',
     "2, and has 1"),
    (JOINED, '".".join(theirs.get(part) for part in name.split("."))',
     "There is None where"),
    (JOINED, '[theirs.get(part, part) for part in name.split(".")]',
     "you return a list, but must return a string"),
    (JOINED, '".".join(theirs.get(part, "") for part in name.split("."))',
     "The part weight becomes nothing"),
    (JOINED, '".".join(theirs.get(part, part) for part in name)',
     "and has 23"),
    (JOINED, '".".join(theirs[part] for part in name.split(".") if part in theirs)',
     "and has 1"),
    ("theirs.get(part, part)", "part.replace(part, theirs)",
     "must be str, not dict"),
    ('"query": "c_attn"', '"query": "c_attn_q"',
     "The part query becomes c_attn_q"),
)

# ------------------------------------------------------------------------------------ load_gpt2


@right("load_gpt2")
@torch.no_grad()
def copied_with_a_look_at_shapes(model, tensors):
    given = {}
    for name, tensor in tensors.items():
        name = name.replace("transformer.", "")
        if name.endswith(".attn.bias") or "masked_bias" in name:
            continue
        given[name] = tensor
    if "lm_head.weight" not in given:
        given["lm_head.weight"] = given["wte.weight"]
    asked = set()
    for name, parameter in model.state_dict().items():
        theirs = map_name(name)
        asked.add(theirs)
        tensor = given[theirs]
        if "c_attn" in theirs:
            q, k, v = tensor.split(tensor.shape[-1] // 3, dim=-1)
            tensor = q if "query" in name else k if "key" in name else v
        if tensor.dim() == 2 and any(part in theirs for part in ("c_attn", "c_fc", "c_proj")):
            tensor = tensor.transpose(0, 1)
        if tensor.shape != parameter.shape:
            raise ValueError(f"{name}: {tensor.shape} is not {parameter.shape}")
        parameter.copy_(tensor)
    assert asked == set(given), set(given) - asked


@right("load_gpt2")
def one_tensor_of_theirs_after_the_other(model, tensors):
    tensors = {name.removeprefix("transformer."): x for name, x in tensors.items()}
    masks = ("attn.masked_bias", ".attn.bias")
    tensors = {n: x for n, x in tensors.items() if not n.endswith(masks)}
    tensors.setdefault("lm_head.weight", tensors["wte.weight"])
    ours = {}
    for name in model.state_dict():
        ours.setdefault(map_name(name), []).append(name)
    weights = {}
    for theirs, tensor in tensors.items():
        tensor = tensor.T if tensor.dim() == 2 and ".c_" in theirs else tensor
        names = ours[theirs]
        weights.update(zip(names, tensor.chunk(len(names)), strict=True))
    model.load_state_dict(weights, strict=True)


TURN = 'if ".c_" in map_name(name):'
CUT = "tensor = tensor.chunk(3)[number]"
LEFT = ("    left_over = given.keys() - map(map_name, weights)\n    if left_over:\n"
        '        raise ValueError(f"The model has no place for {sorted(left_over)}.")\n')
wrong_edits(
    "load_gpt2",
    (TURN, 'if ".c_attn" in map_name(name) or ".c_fc" in map_name(name):',
     "its two sizes exchanged"),
    (TURN, 'if ".c_" in name:',
     "Nothing is transposed"),
    (TURN, 'if ".c_" in map_name(name) or "wte" in map_name(name):',
     "its two sizes exchanged"),
    (TURN, 'if "c_attn" in map_name(name):',
     "has another shape than"),
    ("tensor = tensor.t()", "tensor.t()",
     "Nothing is transposed"),
    ("tensor = tensor.t()", "tensor = tensor.reshape(tensor.shape[::-1])",
     "lie elsewhere in GPT-2's tensor"),
    (CUT, "tensor = tensor.chunk(3, dim=-1)[number]",
     "it is cut in another way"),
    (CUT, "tensor = tensor[number::3]",
     "lie elsewhere in GPT-2's tensor"),
    (CUT, "tensor = tensor.chunk(3)[0]",
     "has the numbers that belong to"),
    (CUT, "tensor = tensor.view(3, -1)[number]",
     "view needs numbers that lie"),
    (CUT, "tensor = tensor.chunk(3)",
     "received <class 'tuple'>"),
    (CUT, "tensor.chunk(3)[number]",
     "three times as large"),
    (LEFT, "",
     "where tensors are left over"),
    ("    model.load_state_dict(weights)", "    return weights",
     "nothing was loaded"),
    ('(".attn.bias", ".attn.masked_bias")', '("attn.bias", "attn.masked_bias")',
     "KeyError: 'h.0.attn.c_attn.bias'"),
    ('(".attn.bias", ".attn.masked_bias")', '(".attn.masked_bias",)',
     "no place for ['h.0.attn.bias']"),
    ("given = {name.removeprefix(\"transformer.\"): tensor", "given = {name: tensor",
     "KeyError: 'wte.weight'"),
    ('    given.setdefault("lm_head.weight", given["wte.weight"])', "    pass",
     "KeyError: 'lm_head.weight'"),
    ("given.keys() - map(map_name, weights)", "given.keys() - weights.keys()",
     "no place for ['h.0.attn.c_attn.bias'"),
    ("given.keys() - map(map_name, weights)", "set(map(map_name, weights)) - given.keys()",
     "where tensors are left over"),
    ("tensor = given[map_name(name)]", "tensor = given[name]",
     "KeyError: 'token_embedding.weight'"),
)
wrong_edits(
    "two_files",
    ('given.setdefault("lm_head.weight", given["wte.weight"])',
     'given |= {"lm_head.weight": given["wte.weight"]}',
     "The bug is still in there"),
    ('given.setdefault("lm_head.weight", given["wte.weight"])', "pass",
     "KeyError: 'lm_head.weight'"),
    ('given.setdefault("lm_head.weight", given["wte.weight"])',
     'given.setdefault("wte.weight", given["lm_head.weight"])',
     "KeyError: 'lm_head.weight'"),
)

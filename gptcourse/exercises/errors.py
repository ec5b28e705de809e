"""What the errors of Python and torch mean, for somebody who meets them for the first time."""

from __future__ import annotations

import re

# A part of the error's text, and what to tell about it. Each is true wherever it is said, for
# nobody knows yet what the function is about.
_MEANINGS = {
    r"'(builtin_function_or_|)method'|not builtin_function":
        "A method stands there without its round brackets: call it, as in x.mean().",
    r"'torch\.Size' object is not callable":
        "The sizes stand in square brackets: x.shape[1], or x.size(1).",
    r"(and '|not |of ')torch\.Size|'torch\.Size' object cannot":
        "p.shape and p.size() are all sizes of a tensor: one of them is p.shape[0], and their "
        "product is p.numel().",
    r"'torch\.dtype' object is not callable":
        "torch.bool, torch.long and the like only name a kind of numbers: a tensor is made with "
        "dtype=torch.bool, or turned into one with x.bool().",
    r"'(Tensor|Parameter|list|tuple|dict|int|float)' object is not callable":
        "Round brackets call a function: use square ones to pick something, and do not give a "
        "function's name to something else.",
    r"must be tuple of Tensors, not Tensor":
        "cat and stack take their tensors together, in one list: torch.cat([a, b], dim=...).",
    r"expected Tensor as element":
        "cat and stack join tensors, but what you give them are pairs or lists: take these apart "
        "first.",
    r"'Tensor' object has no attribute '(append|extend)'":
        "A tensor cannot grow: torch.cat makes a new one of two.",
    r"only one element tensors can be converted|cannot be converted to Scalar":
        "One number is needed there, but the tensor holds several: use torch's function instead "
        "of Python's, as torch.exp for math.exp, or pick one, sum or average first; tensors are "
        "joined by torch.stack, not by torch.tensor.",
    r"only integer tensors of a single element":
        "One whole number is needed there, but the tensor holds several: torch.stack joins "
        "tensors, which torch.tensor does not, and a list is asked for one place at a time.",
    r"Boolean value of Tensor with more than one":
        "One True or False is needed there, but the tensor holds several: write ~ for not, & for "
        "and, | for or, or use torch.where, masked_fill, .any() or .all(). And a class is made "
        "before it is called: nn.CrossEntropyLoss()(x, y).",
    r"arange\(\).* must be Number, not Tensor":
        "torch.arange takes a number, such as a size, x.shape[1].",
    r"must be Tensor, not generator":
        "torch.sum adds up what is in one tensor: for what a generator hands out there is Python's "
        "own sum, without torch.",
    r"Expected parameter `tensor` of type":
        "torch.distributed exchanges tensors, and this is none: .grad is None where a parameter is "
        "frozen, which is to be left out, and everywhere before backward.",
    r"must be Tensor, not (float|int|list|range)":
        "torch's functions take tensors: for plain numbers there is math, for lists torch.tensor, "
        "and .item(), float() and .tolist() may come too early.",
    r"positional arguments?: \"dim\"":
        "Say along which axis: dim=-1 is the last one.",
    r"'generator' (object is not|has no len|object has no attr)":
        "A generator hands out one thing after the other: go through it in a loop, or make a list "
        "of it, list(...).",
    r"'tuple' object has no attribute":
        "That is a pair, or a longer row, of things: take it apart first, a, b = pair.",
    r"Index tensor must have the same number of dim":
        "gather and scatter need places with as many axes as the tensor: add one with "
        "[..., None], or keep it with keepdim=True.",
    r"argument 'dim' \(position 1\) must be int":
        "The axis comes first: x.gather(-1, places), x.scatter(-1, places, values).",
    r"tensors used as indices must be|Expected dtype int32/int64|scalar types: Long, Int":
        "Places and ids are whole numbers: look where they became decimals, or whether two "
        "arguments are swapped; of topk, sort and max take .indices, not .values.",
    r"number of subscripts in the equation":
        "There are more axes than letters, or fewer: in einsum, ... stands for all axes before.",
    r"must have at least 2 dim":
        "A triangle needs rows and columns: make a table of two axes first.",
    r"must be a 3D tensor|must be a matrix":
        "This product takes a fixed number of axes: @ takes any.",
    r"shape of the mask .* does not match":
        "A mask in square brackets is laid on the first axes: masked_fill and torch.where lay it "
        "on the last ones.",
    r"index out of range|out of bounds for dim|index \d+ is out of range":
        "A place is asked for that is not there: the last one is the size less 1, for counting "
        "begins at 0; or it is looked up along another axis than it should.",
    r"selected index k out of range":
        "topk cannot give more than there are: look at k, and at the size of the axis dim.",
    r"too many indices for tensor":
        "There are more indices than axes: x[..., 0] picks along the last one, however many there "
        "are.",
    r"Dimension out of range":
        "There are not so many axes: count them from the end, where dim=-1 is the last.",
    r"The size of tensor a .* must match the size of tensor b":
        "Two shapes do not fit together: counted from the last axis, two sizes must be equal, or "
        "one of them 1.",
    r"shapes cannot be multiplied|Expected size for first two dim":
        "For a @ b, the last axis of a must be as long as the last but one of b: often a transpose "
        "is missing, or one too many.",
    r"shape '.*-1.*' is invalid for input of size":
        "-1 takes whatever size is left over, but here none fits: the other sizes must divide the "
        "number of elements, so cut off what remains, or look at them again.",
    r"shape '.*' is invalid for input of size":
        "view and reshape can neither add nor drop a number: the product of all sizes stays the "
        "same.",
    r"size mismatch for .*copying a param":
        "What you hand over under this name has another shape than the model's own weight: with "
        "its two sizes exchanged it is turned, and where a size is three times as large, or a "
        "third, it is cut in another way.",
    r"view size is not compatible":
        "view needs numbers that lie in memory in their order, which they do not after a "
        "transpose: use reshape.",
    r"indexing tensors could not be broadcast|cannot be broadcast to indexing result":
        "Several places side by side belong together one by one, so their shapes must fit: gather "
        "picks, and scatter writes, one place in each row.",
    r"must have same number of dimensions":
        "cat joins tensors with equally many axes: x[:, :, t] loses an axis, which "
        "x[:, :, t : t + 1] keeps.",
    r"before Module\.__init__\(\) call":
        "A layer begins with super().__init__(), the first line of its __init__.",
    r"cannot assign '.*' as parameter":
        "Assign a parameter itself, such as layer.weight: neither the whole layer, nor a plain "
        "tensor, which .data, .detach(), .clone() or .T make of it.",
    r"__init__\(\) should return None":
        "__init__ makes the parts and returns nothing: leave its return out.",
    r"is not a Module subclass":
        "A class stands where a layer belongs: make one with round brackets, as in Layer(config).",
    r'missing the required "forward"':
        "A list of layers cannot be called: call each of its layers, one after the other, in a "
        "loop.",
    r"must be tuple of ints, not dict":
        "A size is a whole number, and this is the whole configuration: config[\"emb_dim\"].",
    r"arg is an empty sequence|iterable argument is empty":
        "min and max need something to choose from: ask first whether there is anything left.",
    r"has no len\(\)":
        "There is a single thing where several belong: a list, or nn.ModuleList for layers.",
    r"'dict' object has no attribute":
        "A dictionary is asked in square brackets, by name, as in config[\"emb_dim\"].",
    r"as child module":
        "A part of a model must be a layer, an nn.Module: keep the part, and change what is in it.",
    r"Sizes of tensors must match except":
        "cat joins along one axis, and all other sizes must be equal: look at dim.",
    r"stack expects each tensor to be equal size":
        "stack makes a new axis of tensors of equal size, and one of yours has another: a slice "
        "that begins too close to the end is short, so leave out what remains at the end, if it "
        "is that; cat joins them along an axis that is there.",
    r"argument 'normalized_shape'":
        "The sizes come before scale and shift: F.layer_norm(x, scale.shape, scale, shift, eps).",
    r"Given normalized_shape=":
        "A norm reads vectors of one width only, and these have another: + keeps the width, cat "
        "does not.",
    r"expected target dtype|Expected floating point type for target":
        "cross_entropy takes the scores first, which are decimals, and then the targets, which "
        "are ids.",
    r"1D target must have|to match target batch_size|Expected target size":
        "cross_entropy takes a row of scores for each target: flatten B and T into one axis, in "
        "both of them.",
    r"not implemented for 'Long'|could not infer output dtype":
        "This is not computed for whole numbers: two arguments may be swapped, or a .float() is "
        "missing.",
    r"have the same dtype|expected scalar type":
        "Two tensors have different dtypes, such as float and double: bring them to the same one.",
    r"'(float|int)' object has no attribute":
        "That is a plain number, which has none of a tensor's methods: call .item() or float() "
        "last.",
    r"NoneType":
        "There is None where a value is needed: it came in as None, or from a function without "
        "return, from .get for a key that is not there, or from a method that changes its list in "
        "place, such as append.",
    r"return_types\.":
        "sort, topk, max and min return two things, values and their places: values, places = ...",
    r"grad can be implicitly created only for scalar":
        "backward begins at one number: take the mean first.",
    r"does not require grad":
        "The way from the weights to the loss was not recorded: leave out no_grad(), .detach() and "
        "argmax on it.",
    r"probability tensor contains":
        "multinomial draws from probabilities, which softmax makes of scores; and where all of "
        "them are minus infinity, nothing is left to draw.",
    r"Expected self\.dtype to be equal to src":
        "scatter takes the axis, the places, and then what to write there, of the tensor's own "
        "dtype.",
    r"expected index .* to be (no larger|smaller)":
        "gather and scatter look up row by row, so there may not be more rows of places than of "
        "numbers: was one of them cut along the wrong axis?",
    r"being used in an in-place operation":
        "What is trained may not be changed in place: write x = x + ... instead of x += ...",
    r"bitwise_xor|for \^: ":
        "The sign ^ is no power in Python: write **.",
    r"operator\.invert|bad operand type for unary ~|only supports boolean masks|"
    r"(Negation|Subtraction), the `-` operator":
        "A mask holds True and False, and ~ turns these around: write a comparison, or .bool().",
    r"Can't call numpy\(\)":
        "NumPy cannot follow gradients: stay with torch's functions.",
    r"values to unpack":
        "There are more, or fewer, things than names for them: look at the shape, or the length, "
        "of what stands on the right of the =.",
    r"__init__\(\) (missing|got multiple|takes)":
        "A layer is made first, with its settings, and then called: nn.Softmax(dim=-1)(x).",
    r"does not support item assignment":
        "A tuple cannot be changed: make a new one.",
    r"can't multiply sequence|only concatenate|for [-+*/]: '(list|tuple)'":
        "A list does not compute element by element: make a tensor of it, torch.tensor(...).",
    r"'float' object cannot be interpreted|indices must be integers or slices, not float|"
    r"tuple of ints, ?but got float|slice indices must be integers":
        "A whole number is needed there: / gives a decimal, // a whole one.",
    r"indices must be integers or slices, not str":
        "Tuples and lists are asked by place, pair[0], not by name: only dictionaries have names.",
    r"indices must be integers or slices, not tuple":
        "The places of a list are whole numbers: a tuple, or two indices with a comma, is none.",
    r"cannot be interpreted as an integer|indices must be integers":
        "An index is a whole number: a loop over things gives the things themselves, which need "
        "none.",
    r"unhashable type: 'list'":
        "A list cannot be a key of a dictionary, for it may change: make it a tuple.",
    r"^KeyError":
        "The dictionary has no such key yet: .get(key, 0) gives 0 in its place.",
    r"local variable":
        "The name gets its first value too late: set it before the line, or the loop, that uses "
        "it.",
    r"is not defined":
        "That name is not known here: look for a typo, for an import that is missing, or for a "
        "cell further up that was not run.",
    r"codec can't encode":
        "That encoding lacks a character of the text: \"utf-8\" has them all.",
    r"codec can't decode":
        "These bytes are no whole characters: join all that belong together before you decode "
        "them, and where some may be missing, decode with errors=\"replace\".",
    r"sequence item \d+: expected":
        "join takes pieces of its own kind: \"\".join strings, b\"\".join bytes; a number is "
        "neither.",
    r"must be in range\(0, 256\)":
        "A byte is a number from 0 to 255: keep larger ones in a list.",
    r"division by zero":
        "Something is divided by 0: which of the inputs may be 0, or make a difference 0?",
    r"math domain error|expected a (positive|nonnegative) input":
        "Only numbers above 0 have a logarithm, and none below 0 has a root.",
    r"math range error":
        "exp of a large number is larger than any number can be: average or subtract before it.",
    r"object is not iterable|cannot unpack non-iterable|of type '(int|float)'|"
    r"'(int|float)' object is not subscriptable":
        "Where a list belongs stands a single thing.",
    r"object is not subscriptable":
        "Square brackets pick from lists and tensors: a layer or function is called, with round "
        "ones, and parts of a model stand after a dot.",
    r"module '.*' has no attribute":
        "That module has no such function: look for a typo, or for the function in "
        "torch.nn.functional.",
    r"object has no attribute":
        "What stands before the dot has no such part and no such method: look for a typo, or print "
        "it to see what it is.",
    r"(for .*'|not )(Linear|LayerNorm|Embedding|MultiHeadAttention|FeedForward|function)\b":
        "A layer or a function stands there without its round brackets: call it, as in layer(x); "
        "a layer multiplies by its numbers itself.",
    r"unsupported operand type|must be Tensor, not":
        "Such things do not go together: is one of them a list, or a function or layer that is "
        "not called?",
    r"missing \d+ required positional":
        "It is given less than it takes: pass it what is named there, too.",
    r"1D tensors expected":
        "torch.dot multiplies two single rows: the product of matrices is @.",
    r"invalid literal for int":
        "int reads digits only: .encode gives the bytes of a text, and ord the number of a letter.",
    r"expected sequence of length":
        "The rows of a tensor are all of the same length: fill the short ones up.",
    r"positional arguments? but":
        "It is given more than it takes (in a method, self counts, too).",
}


def meaning(error: str) -> str | None:
    """A sentence about an error, from its text."""
    return next((words for part, words in _MEANINGS.items() if re.search(part, error)), None)

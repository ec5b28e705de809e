"""The chapters of the course by their number."""

TITLES = {
    0: "Start here", 1: "Tokenization", 2: "A first language model", 3: "Attention", 4: "Blocks",
    5: "The full model", 6: "Training", 7: "Generation", 8: "Pretrained weights",
    9: "A modern language model", 10: "Looking inside", 13: "Scale",
}

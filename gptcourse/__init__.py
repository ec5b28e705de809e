"""The course around `gptlib`: exercises, quizzes, figures, views, and what a chapter needs besides.

`gpt.py` is where it leads: a whole GPT in one file, which the learner writes piece by piece.
"""

"""Five questions for each chapter, every option explained.

>>> from gptcourse.quizzes import quiz
>>> quiz.attention
"""

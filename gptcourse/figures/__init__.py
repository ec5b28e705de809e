from gptcourse.figures.diagram import *  # noqa: F403

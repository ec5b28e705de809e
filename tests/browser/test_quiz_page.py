"""A quiz in JupyterLab, on a narrow page."""

from itertools import pairwise

from lab_notebook import write_notebook

# Of each option: where its box begins and ends, its lines, and where its button stands.
OPTIONS = """() => [...document.querySelectorAll('.widget-radio-box label')].map(label => {
    const box = label.getBoundingClientRect();
    const button = label.querySelector('input').getBoundingClientRect();
    const text = document.createRange();
    text.selectNodeContents(label.firstChild);
    const lines = text.getClientRects();
    return {top: box.top, lines: lines.length, button: button.top,
            bottom: Math.max(...[...lines].map(line => line.bottom))};
})"""


def test_an_option_of_several_lines_has_room_and_its_button_at_its_first_line(lab):
    write_notebook(lab, "quiz.ipynb", ["from gptcourse.quizzes import quiz\nquiz.generation"])
    with lab.open("quiz.ipynb") as notebook:
        notebook.page.set_viewport_size({"width": 800, "height": 1600})
        notebook.run_all(180)
        notebook.page.locator(".widget-radio-box input").first.wait_for()
        options = notebook.page.evaluate(OPTIONS)
    assert len(options) == 20 and max(option["lines"] for option in options) > 1
    for option, following in pairwise(options):
        assert abs(option["button"] - option["top"]) < 4
        assert option["bottom"] <= following["top"] + 1
